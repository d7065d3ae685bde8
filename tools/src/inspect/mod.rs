//! `wheatear inspect`: what an adapter holds. Reads only, also while a daemon writes.

mod head;
mod rows;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args as ClapArgs;
use serde::Serialize;
use wheatear::learn::{BlockKind, ClassName, LabelSet};
use wheatear::store::{Access, Adapter};

use crate::board::BoardArgs;
use crate::output::{bold, print_facts};
use crate::tally::anonymous;

/// Show what an adapter holds
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Adapter
    adapter: PathBuf,
    #[command(flatten)]
    board: BoardArgs,
    /// List the rows that replay holds, as CSV
    #[arg(long)]
    rows: bool,
    /// With --rows: only those of this class, as heard or as not heard; _background for those of none
    #[arg(long, value_name = "CLASS", requires = "rows")]
    class: Option<ClassName>,
    /// With --rows: only the newest N
    #[arg(long, value_name = "N", requires = "rows")]
    limit: Option<usize>,
    /// Show the head that it serves: what is pooled with which weights, and the labels that it does not believe
    #[arg(long, conflicts_with = "rows")]
    head: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize, Default)]
struct Class {
    name: String,
    /// Rows that are this class alone: those that heads are solved from.
    rows: u64,
    /// Rows that are something else beside, or are said not to be something.
    mixed_rows: u64,
    /// Rows that are said not to be this class.
    negative_rows: u64,
    /// Of all of these, those that replay holds.
    held_rows: u64,
}

/// A forgotten class whose sums stay.
#[derive(Serialize)]
struct Retired {
    /// What stands for its name.
    digits: String,
    rows: u64,
}

#[derive(Serialize)]
struct Bounds {
    replay_rows: u32,
    background_rows: u32,
    undo_rows: u32,
    max_classes: u32,
    max_origins: u32,
    max_sources: u32,
}

#[derive(Serialize)]
struct Facts {
    adapter: PathBuf,
    format: u32,
    /// Number of the set of files: how often it was written anew.
    file_set: u32,
    backbone: String,
    space: String,
    dim: u32,
    latent_bits: u8,
    seed: String,
    classes: Vec<Class>,
    retired_classes: Vec<Retired>,
    rows: u64,
    mixed_rows: u64,
    background_rows: u64,
    replay_rows: u64,
    held_out_rows: u64,
    held_background_rows: u64,
    evicted_rows: u64,
    /// Undo reaches back to this row.
    oldest_undoable_row: Option<u64>,
    recordings: u64,
    bounds: Bounds,
    chunks_in_use: u64,
    chunks: u32,
    generation: u64,
    checkpoint_generation: u64,
    /// Those that `rollback` can go back to.
    generations: Vec<u64>,
    recovery: String,
    damaged_chunks: u64,
    origins: Vec<String>,
    /// The incarnation that learns here now.
    learns_as: String,
    bytes: u64,
    statistics_sha256: String,
}

/// Runs `wheatear inspect`.
///
/// # Errors
/// Those of opening the adapter; with `--rows` also `Input` when it knows no such class.
pub fn run(args: &Args) -> anyhow::Result<()> {
    if args.rows {
        return rows::run(&args.adapter, args.class.as_ref(), args.limit, args.json);
    }
    if args.head {
        return head::run(&args.adapter, &args.board, args.json);
    }
    let adapter = Adapter::open(&args.adapter, Access::Read)?;
    print_facts(args.json, &facts(&adapter)?, table)
}

fn facts(adapter: &Adapter) -> anyhow::Result<Facts> {
    let header = adapter.header();
    let creation = &header.creation;
    let rows = |kind| adapter.block(kind).map(|b| b.map_or(0, |b| b.rows()));
    let held = |wanted: fn(&LabelSet, bool) -> bool| adapter.held_labels().filter(|(_, l, out)| wanted(l, *out)).count() as u64;
    let mut bytes = 0;
    for entry in std::fs::read_dir(adapter.folder())? {
        bytes += entry?.metadata()?.len();
    }
    let (classes, retired_classes) = classes(adapter)?;
    Ok(Facts {
        adapter: adapter.folder().to_path_buf(),
        format: header.format,
        file_set: header.epoch,
        backbone: creation.backbone.clone(),
        space: creation.space.to_string(),
        dim: creation.dim,
        latent_bits: creation.bits,
        seed: format!("{:016x}", creation.seed),
        classes,
        retired_classes,
        rows: rows(BlockKind::Latents)?,
        mixed_rows: rows(BlockKind::Mixed)?,
        background_rows: rows(BlockKind::Background)?,
        replay_rows: adapter.held_rows(),
        held_out_rows: held(|_, held_out| held_out),
        held_background_rows: held(|labels, _| *labels == LabelSet::background()),
        evicted_rows: adapter.evicted_rows(),
        oldest_undoable_row: adapter.oldest_undoable_row(),
        recordings: adapter.sources().count() as u64,
        bounds: Bounds {
            replay_rows: creation.replay_rows,
            background_rows: creation.background_rows,
            undo_rows: creation.undo_rows,
            max_classes: creation.max_classes,
            max_origins: creation.max_origins,
            max_sources: creation.max_sources,
        },
        chunks_in_use: adapter.chunks_in_use(),
        chunks: header.chunks,
        generation: adapter.generation(),
        checkpoint_generation: adapter.checkpoint_generation(),
        generations: adapter.generations(),
        recovery: adapter.recovery().to_string(),
        damaged_chunks: adapter.damaged_chunks(),
        origins: adapter.origins().iter().map(|o| o.to_string()).collect(),
        learns_as: adapter.origin().to_string(),
        bytes,
        statistics_sha256: adapter.statistics_digest()?.iter().map(|b| format!("{b:02x}")).collect(),
    })
}

/// The classes by name, and those that were forgotten.
fn classes(adapter: &Adapter) -> wheatear::Result<(Vec<Class>, Vec<Retired>)> {
    let mut all: BTreeMap<ClassName, Class> = BTreeMap::new();
    for kind in [BlockKind::Latents, BlockKind::Mixed] {
        let Some(block) = adapter.block(kind)? else { continue };
        for (name, sums) in block.classes() {
            let class = all.entry(name.clone()).or_default();
            *(if kind == BlockKind::Latents { &mut class.rows } else { &mut class.mixed_rows }) += sums.n;
            class.negative_rows += sums.negative_n;
        }
    }
    for (_, labels, _) in adapter.held_labels() {
        labels.positive().iter().chain(labels.negative()).for_each(|name| all.entry(name.clone()).or_default().held_rows += 1);
    }
    let (mut classes, mut retired) = (Vec::new(), Vec::new());
    for (name, class) in all {
        match name.is_retired() {
            true => retired.push(Retired { digits: anonymous(&name), rows: class.rows + class.mixed_rows + class.negative_rows }),
            false => classes.push(Class { name: name.to_string(), ..class }),
        }
    }
    Ok((classes, retired))
}

fn table(f: &Facts) -> String {
    let mut text = format!("{}\n", bold(&f.adapter.display().to_string()));
    let mut line = |key: &str, value: String| text += &format!("  {key:<12} {value}\n");
    line("backbone", format!("{} (D={}, {} bits a component)", f.backbone, f.dim, f.latent_bits));
    line("space", f.space.clone());
    line("format", format!("{}, file set {}, seed {}", f.format, f.file_set, f.seed));
    line("generation", format!("{} (checkpoint {}; {})", f.generation, f.checkpoint_generation, f.recovery));
    let generations: Vec<String> = f.generations.iter().map(u64::to_string).collect();
    line("rollback", if generations.is_empty() { "no checkpoint yet".into() } else { format!("to {}", generations.join(", ")) });
    line("origins", f.origins.join(", "));
    if f.origins != [f.learns_as.as_str()] {
        line("learns as", f.learns_as.clone());
    }
    line("rows", format!("{} ({} mixed, {} background)", f.rows + f.mixed_rows + f.background_rows, f.mixed_rows, f.background_rows));
    let (b, held) = (&f.bounds, f.replay_rows);
    line("replay", format!("{held} rows held of at most {}, {} left it", b.replay_rows, f.evicted_rows));
    line("", format!("{} of them held out, {} of at most {} background", f.held_out_rows, f.held_background_rows, b.background_rows));
    let oldest = f.oldest_undoable_row.map_or("nothing".to_owned(), |row| format!("rows from {row} on"));
    line("undo", format!("reaches {oldest} (the newest {})", b.undo_rows));
    line("recordings", format!("{} known as taught, of at most {}", f.recordings, b.max_sources));
    line("disk", format!("{:.1} MiB, fixed; {} of {} chunks in use", f.bytes as f64 / f64::from(1 << 20), f.chunks_in_use, f.chunks));
    line("statistics", format!("sha256 {}", f.statistics_sha256));
    if f.damaged_chunks > 0 {
        line("damaged", format!("{} chunks: their rows left replay, the statistics count them still", f.damaged_chunks));
    }
    if !f.retired_classes.is_empty() {
        let rows: u64 = f.retired_classes.iter().map(|r| r.rows).sum();
        line("retired", format!("{} forgotten classes, {rows} rows without a name", f.retired_classes.len()));
    }
    text += &format!("  {}\n", bold(&format!("{} classes (of at most {})", f.classes.len(), b.max_classes)));
    let width = f.classes.iter().map(|c| c.name.chars().count()).max().unwrap_or(0);
    for c in &f.classes {
        text += &format!("    {:<width$} {:>6} rows", c.name, c.rows);
        let more = [(c.mixed_rows, "mixed"), (c.negative_rows, "not it")];
        more.iter().filter(|(n, _)| *n > 0).for_each(|(n, what)| text += &format!(", {n} {what}"));
        text += &format!(", {} held\n", c.held_rows);
    }
    text
}
