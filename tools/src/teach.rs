//! `wheatear teach`: learns a folder of sounds, one sub-folder a class, in one pass.
//!
//! Each sound is one commit, and is remembered by the digest of its bytes and class: a second run learns only what is
//! new, and a run that was cut off goes on behind the last sound it had learned.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::time::Instant;

use clap::{Args as ClapArgs, ValueEnum};
use wheatear::config::DurabilityChoice;
use wheatear::learn::{BlockKind, ClassName};
use wheatear::learner::{self, Verdict};
use wheatear::store::{Adapter, Batch, Durability, NewRow, RowFlags};
use wheatear::{Error, ErrorKind, Result};

use crate::adapter::NewAdapterArgs;
use crate::asking::{Asked, Asking};
use crate::board::{BoardArgs, budget_of, tell_slow};
use crate::clock;
use crate::embed::{BackboneArgs, ConfigArgs, Embedded, Latent, adapter_folder, embed_files, latent_of, progress};
use crate::opened::{acknowledged, refusal};
use crate::output::print;
use crate::recording::{recording_in, recording_of, source_of};
use crate::sounds::{Labelled, labelled_in};
use wheatear::learn::label_text;

/// Teach an adapter a folder of sounds: one sub-folder a class (_background for none), or a labels.csv of lines file,class, where
/// class may be several labels (wren;robin), what it is not (!wren; robin;!wren) or none (!*)
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Folder with one sub-folder a class
    folder: PathBuf,
    #[command(flatten)]
    backbone: BackboneArgs,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    board: BoardArgs,
    /// Adapter: a folder, made when it is not there
    #[arg(long, value_name = "FOLDER", env = "WHEATEAR_ADAPTER")]
    adapter: Option<PathBuf>,
    /// When a label is safe from a power cut: each sound (label), or sixteen sounds at a time (chunk, the default)
    #[arg(long, value_enum)]
    durability: Option<DurabilityArg>,
    #[command(flatten)]
    new: NewAdapterArgs,
    /// Result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
enum DurabilityArg {
    Label,
    #[default]
    Chunk,
}

/// Sounds between two syncs at durability `chunk`.
const SOUNDS_PER_SYNC: usize = 16;

#[derive(Debug, Default, serde::Serialize)]
struct Taught {
    sounds: usize,
    already_known: usize,
    unusable: Vec<String>,
    damaged: Vec<String>,
    relabelled: Vec<String>,
    rows: u64,
    silent_windows: u64,
    clipped_components: u64,
    /// By what was said: a class, or a label set as labels.csv has it.
    rows_by_class: BTreeMap<String, u64>,
    /// When labels were synced: each by itself, or several at a time.
    durability: DurabilityArg,
    /// True when all of it survives a power cut.
    durable: bool,
    generation: u64,
    /// What the head said of windows of classes that it knew, before they were learned.
    asked: Asked,
    /// Generation of the head that serves; none when there is nothing to solve one from.
    serves: Option<u64>,
    /// What the guard said of the new head, where there was one before.
    verdict: Option<Verdict>,
    /// Whether it was refused: then the head before serves, and what was learned now is not named.
    refused: bool,
    recovery: String,
    damaged_chunks: u64,
    adapter: PathBuf,
}

/// Runs `wheatear teach`.
///
/// # Errors
/// Those of the folder, the backbone and the adapter; `Input` when some sounds could not be used (all others are learned).
pub fn run(args: &Args) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let board = args.board.load(&config)?;
    let budget = budget_of(board.as_ref());
    let folder = adapter_folder(args.adapter.as_deref(), &config)?;
    let backbone = args.backbone.choose_for(&config, Some(&folder))?;
    let configured = config.learn.durability.map_or(DurabilityArg::default(), |d| match d {
        DurabilityChoice::Label => DurabilityArg::Label,
        DurabilityChoice::Chunk => DurabilityArg::Chunk,
    });
    let durability = args.durability.unwrap_or(configured);
    let sounds = labelled_in(&args.folder)?;
    let manifest = backbone.manifest()?;
    let mut adapter = args.new.open_or_create(&config, board.as_ref(), &folder, &backbone, &manifest, sounds.len())?;
    backbone.remember(&folder);
    let remembered = adapter.header().creation.max_sources as usize;
    if sounds.len() > remembered {
        return Err(Error::new(ErrorKind::Limit, "the folder has more sounds than the adapter can remember as taught")
            .at(args.folder.display())
            .expected(format!("at most {remembered}"))
            .found(sounds.len())
            .cure("teach the folder to a new adapter: it is made large enough, or split the folder")
            .into());
    }
    let graph = backbone.graph(&manifest)?;
    let mut known = 0;
    let mut new: Vec<(Labelled, u64)> = Vec::new();
    let mut seen = HashSet::new();
    let mut recordings: HashSet<u64> = adapter.sources().map(recording_in).collect();
    let mut relabelled = Vec::new();
    let bar = progress("reading", sounds.len());
    for sound in sounds {
        let source = source_of(recording_of(&sound.path)?, &sound.labels);
        bar.inc(1);
        // Two copies of one recording in a class are one recording.
        if adapter.has_source(source) || !seen.insert(source) {
            known += 1;
            continue;
        }
        if !recordings.insert(recording_in(source)) && adapter.rows_of_unfinished(source) == 0 {
            let path = sound.path.display();
            relabelled.push(format!(
                "{path} is known under another class already, and is now learned as {} too",
                label_text::text(&sound.labels)
            ));
        }
        new.push((sound, source));
    }
    bar.finish_and_clear();
    relabelled
        .iter()
        .for_each(|r| log::warn!("{r}: what was learned before stays; if that was a mistake: wheatear undo, or relabel its rows"));
    let files: Vec<PathBuf> = new.iter().map(|(s, _)| s.path.clone()).collect();
    let mut done = Taught { already_known: known, relabelled, durability, adapter: folder.clone(), ..Taught::default() };
    (done.recovery, done.damaged_chunks) = (adapter.recovery().to_string(), adapter.damaged_chunks());
    let quantiser = adapter.quantiser()?;
    let silence = manifest.silence_peak();
    let mut asking = Asking::begin(&adapter, &budget)?;
    let bar = progress("teaching", files.len());
    if !files.is_empty() {
        let latents = || latent_of(&quantiser, silence);
        embed_files(&backbone, &files, latents, |i, got| {
            let (sound, source) = &new[i];
            bar.set_message(label_text::text(&sound.labels));
            let got = match got {
                Ok(got) => got,
                Err(e) if matches!(e.kind(), ErrorKind::Input | ErrorKind::Missing | ErrorKind::Storage) => {
                    done.unusable.push(e.to_string());
                    bar.inc(1);
                    return Ok(());
                }
                Err(e) => return Err(e.at(sound.path.display())),
            };
            asking.ask(&sound.labels, &got.windows, adapter.rows_of_unfinished(*source) as usize, &quantiser, &mut done.asked)?;
            learn(&mut adapter, sound, (*source, graph), &got, &mut done)?;
            let last = i + 1 == files.len();
            if durability == DurabilityArg::Label || last || (i + 1).is_multiple_of(SOUNDS_PER_SYNC) {
                adapter.sync()?;
            }
            bar.inc(1);
            Ok(())
        })?;
        adapter.sync()?;
    }
    bar.finish_and_clear();
    if learner::can_serve(&adapter)? {
        let begun = Instant::now();
        let standing = learner::settle(&mut adapter, &asking.monitor, &budget)?;
        tell_slow(&folder, &budget, begun.elapsed());
        done.refused = standing.is_refused();
        (done.serves, done.verdict) = (Some(standing.generation), standing.verdict);
    }
    (done.generation, done.durable) = (adapter.generation(), adapter.is_durable());
    report(args, &adapter, &done)?;
    match done.unusable.len() {
        0 => Ok(()),
        n if n == files.len() => {
            Err(Error::new(ErrorKind::Input, "no sound could be used, nothing new was learned").at(&done.unusable[0]).into())
        }
        n => Err(Error::new(ErrorKind::Input, format!("{n} of {} sounds could not be used, the others are learned", files.len()))
            .at(&done.unusable[0])
            .cure("mend or remove them, then run the same command again")
            .into()),
    }
}

fn learn(
    adapter: &mut Adapter,
    sound: &Labelled,
    (source, graph): (u64, u64),
    got: &Embedded<Option<Latent>>,
    done: &mut Taught,
) -> Result<()> {
    let learned_before = adapter.rows_of_unfinished(source) as usize;
    let mut rows = Vec::new();
    for w in got.windows.iter().flatten() {
        rows.push(NewRow { latent: &w.latent, labels: &sound.labels, time_delta_ns: 0, start_sample: w.start, flags: RowFlags::default() });
    }
    done.silent_windows += (got.windows.len() - rows.len()) as u64;
    done.clipped_components += got.windows.iter().flatten().map(|w| u64::from(w.clipped)).sum::<u64>();
    if rows.is_empty() {
        log::warn!("{}: silent, nothing to learn from it", sound.path.display());
    }
    let batch = Batch { origin: adapter.origin(), by: "teach".into(), time: clock::now(), graph, source, source_complete: true };
    let rows = rows.get(learned_before..).unwrap_or_default();
    adapter.learn(&batch, rows, Durability::Later)?;
    done.sounds += 1;
    done.rows += rows.len() as u64;
    *done.rows_by_class.entry(label_text::text(&sound.labels)).or_default() += rows.len() as u64;
    done.damaged.extend(got.summary.damage.as_ref().map(|d| format!("{}: {d}", sound.path.display())));
    Ok(())
}

fn report(args: &Args, adapter: &Adapter, done: &Taught) -> anyhow::Result<()> {
    if args.json {
        return print(&format!("{}\n", serde_json::to_string_pretty(done)?));
    }
    let synced = match done.durability {
        DurabilityArg::Label => "each sound synced by itself".to_owned(),
        DurabilityArg::Chunk => format!("{SOUNDS_PER_SYNC} sounds synced at a time"),
    };
    let mut text = format!("{}: {} ({synced})\n", done.adapter.display(), acknowledged(done.generation, done.durable));
    text += &format!("learned {} rows of {} sounds; {} sounds were known already\n", done.rows, done.sounds, done.already_known);
    if done.clipped_components * 1000 > done.rows * adapter.dim() as u64 {
        let share = 100.0 * done.clipped_components as f64 / (done.rows * adapter.dim() as u64) as f64;
        text +=
            &format!("clipped {share:.2} % of the components: calibrate the backbone on sounds like these (wheatear export --calibrate)\n");
    }
    if done.asked.windows > 0 {
        let Asked { windows, right, .. } = done.asked;
        text += &format!("before it learned them, {right} of {windows} windows of classes that it knew were named right\n");
    }
    match (&done.verdict, done.serves) {
        (Some(verdict), Some(serves)) if !verdict.accepts() => text += &format!("{}\n", refusal(&done.adapter, serves, verdict)),
        (Some(verdict), _) => text += &format!("the new head serves: {verdict}\n"),
        _ => {}
    }
    if done.silent_windows > 0 {
        text += &format!("left out {} silent windows\n", done.silent_windows);
    }
    let blocks = [adapter.block(BlockKind::Latents)?, adapter.block(BlockKind::Mixed)?];
    let known = blocks.iter().flatten().flat_map(|b| b.classes()).filter(|(class, sums)| !class.is_retired() && sums.n > 0);
    let classes: BTreeSet<&ClassName> = known.map(|(class, _)| class).collect();
    text += &format!("{} classes: {}\n", classes.len(), classes.iter().map(|c| c.as_str()).collect::<Vec<_>>().join(", "));
    if classes.len() == 1 {
        text += "one class only: everything will be taken for it; teach a second one (or background) next\n";
    }
    done.damaged.iter().for_each(|d| text += &format!("damaged: {d}\n"));
    print(&text)
}
