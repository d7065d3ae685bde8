//! `wheatear classify`: what is heard in sound files, window by window.

mod format;

use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, ValueEnum};
use wheatear::head::{Head, HeadKind, LatentHead, LinearHead, Presence, Unknown, argmax};
use wheatear::latent::{Quantiser, SpaceId};
use wheatear::learn::ClassName;
use wheatear::learner::{self, Served};
use wheatear::pipeline;
use wheatear::store::Access;
use wheatear::{Error, ErrorKind, Result};

use crate::clock;
use crate::embed::{BackboneArgs, ConfigArgs, Embedded, adapter_folder, embed_files, progress, silence_peak};
use crate::opened::{open, refusal, serving};
use crate::output::print;
use crate::sounds::sounds_in;
use format::{Format, Heard, Made, Present, Window};

/// Say what is heard in sound files or folders of them
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Sound files, or folders that are searched for them
    #[arg(required = true, value_name = "FILE|FOLDER")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    backbone: BackboneArgs,
    #[command(flatten)]
    config: ConfigArgs,
    /// Adapter
    #[arg(long, value_name = "FOLDER", env = "WHEATEAR_ADAPTER")]
    adapter: Option<PathBuf>,
    /// Head that classifies; without it auto
    #[arg(long, value_enum)]
    head: Option<HeadArg>,
    /// table: a line a file; csv and json: every window; events, raven and audacity: stretches of one class, which may overlap
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Write a file a sound here, instead of standard output (where several sounds follow one another in raven and audacity)
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Windows less probable than this make no stretch; without it 0.5
    #[arg(long, value_name = "P", value_parser = probability)]
    min_probability: Option<f32>,
    /// Windows that are more probably of no known class make no stretch; without it 0.5. Only auto tells
    #[arg(long, value_name = "P", value_parser = probability)]
    max_unknown: Option<f32>,
    /// Same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

/// A head on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum HeadArg {
    /// slda and ridge, pooled by evidence; tells windows of no known class
    Auto,
    Ncm,
    Slda,
    Ridge,
}

impl From<HeadArg> for HeadKind {
    fn from(head: HeadArg) -> HeadKind {
        match head {
            HeadArg::Auto => HeadKind::Auto,
            HeadArg::Ncm => HeadKind::Ncm,
            HeadArg::Slda => HeadKind::Slda,
            HeadArg::Ridge => HeadKind::Ridge,
        }
    }
}

fn probability(text: &str) -> Result<f32, String> {
    text.parse().ok().filter(|p| (0.0..=1.0).contains(p)).ok_or_else(|| "0 to 1".to_owned())
}

/// Runs `wheatear classify`.
///
/// # Errors
/// Those of the adapter and the backbone; `Input` when a sound could not be used (all others are classified).
pub fn run(args: &Args) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let adapter = adapter_folder(args.adapter.as_deref(), &config)?;
    // Before a backbone is asked for, which an adapter that is there would name.
    if !adapter.exists() {
        open(&adapter, Access::Read)?;
    }
    let backbone = args.backbone.choose_for(&config, Some(&adapter))?;
    let format = if args.json { Format::Json } else { args.format };
    let files = files(&args.paths)?;
    let manifest = backbone.manifest()?;
    let adapter = open(&adapter, Access::Read)?;
    adapter.check_space(SpaceId::of(&manifest, Some(adapter.header().creation.bits))?, &manifest.name)?;
    let quantiser = adapter.quantiser()?;
    let (served, generation, refusal) = match args.head.map(HeadKind::from).or(config.classify.head).unwrap_or_default() {
        HeadKind::Auto => {
            let standing = serving(&adapter)?;
            let refused = standing.verdict.as_ref().filter(|v| !v.accepts());
            let refusal = refused.map(|verdict| refusal(adapter.folder(), standing.generation, verdict));
            (standing.served, standing.generation, refusal)
        }
        kind => (learner::serve(&adapter, kind)?, adapter.generation(), None),
    };
    let Served { head, unknown, presence, doubtful, .. } = served;
    if !doubtful.is_empty() {
        let (count, folder) = (doubtful.len(), adapter.folder().display());
        log::warn!("{count} labels are probably wrong and were left out of the head: wheatear inspect {folder} --head names them");
    }
    let present = presence.as_ref().and_then(|p| p.present.as_ref()).map(Head::classes);
    let (rate_hz, silence) = (f64::from(manifest.audio.rate_hz), silence_peak(&manifest));
    let mut heard: Vec<Heard> = Vec::new();
    let mut unusable: Vec<String> = Vec::new();
    let bar = progress("classifying", files.len());
    let turner = || {
        let mut judge = Judge::new(&head, unknown.as_ref(), presence.as_ref(), &quantiser, silence);
        move |w: &pipeline::Window<'_>| judge.judge(w)
    };
    embed_files(&backbone, &files, turner, |i, got| {
        match got {
            Ok(got) => heard.push(sum_up(&files[i], &got, head.classes(), present, rate_hz)),
            Err(e) if matches!(e.kind(), ErrorKind::Input | ErrorKind::Missing | ErrorKind::Storage) => {
                bar.suspend(|| log::error!("{e}"));
                unusable.push(e.to_string());
            }
            Err(e) => return Err(e),
        }
        bar.inc(1);
        Ok(())
    })?;
    bar.finish_and_clear();
    let made = Made {
        min_probability: args.min_probability.or(config.classify.min_probability).unwrap_or(0.5),
        max_unknown: args.max_unknown.or(config.classify.max_unknown).unwrap_or(0.5),
        at: clock::now(),
        generation,
        refusal,
    };
    write(args, format, &heard, &made)?;
    match unusable.len() {
        0 => Ok(()),
        n => Err(Error::new(ErrorKind::Input, format!("{n} of {} sounds could not be used", files.len())).at(&unusable[0]).into()),
    }
}

fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() { files.extend(sounds_in(path)?) } else { files.push(path.clone()) }
    }
    Ok(files)
}

/// What a window was taken for: its place in samples, and the most probable classes unless it is silent.
struct Judged {
    start: u64,
    end: u64,
    best: Option<[(usize, f32); BEST]>,
    /// Those most probably present, where that is told.
    present: [(usize, f32); PRESENT],
    unknown: Option<f32>,
}

/// Classes of a window that are kept for the file's summary.
const BEST: usize = 3;
/// Most classes that a window tells of as present.
const PRESENT: usize = 8;
/// Probability from which a class is among those that may be present.
const PRESENT_MIN: f32 = 0.05;

/// Turns embeddings into classes, in buffers of its own.
struct Judge<'a> {
    head: LatentHead,
    classes: &'a [ClassName],
    unknown: Option<&'a Unknown>,
    presence: Option<&'a Presence>,
    quantiser: &'a Quantiser,
    silence: f32,
    latent: Vec<i8>,
    x: Vec<f32>,
    p: Vec<f32>,
    present: Vec<f32>,
}

impl<'a> Judge<'a> {
    fn new(
        head: &'a LinearHead,
        unknown: Option<&'a Unknown>,
        presence: Option<&'a Presence>,
        quantiser: &'a Quantiser,
        silence: f32,
    ) -> Judge<'a> {
        let (dim, classes) = (quantiser.dim(), head.classes());
        let present = vec![0.0; presence.map_or(0, |p| p.classes().len())];
        let (latent, x, p) = (vec![0; dim], vec![0.0; dim], vec![0.0; classes.len()]);
        let head = LatentHead::new(head, quantiser.scale());
        Judge { head, classes, unknown, presence, quantiser, silence, latent, x, p, present }
    }

    fn judge(&mut self, w: &pipeline::Window<'_>) -> Result<Judged> {
        let (start, end) = (w.start, w.start + w.len as u64);
        if w.peak < self.silence {
            return Ok(Judged { start, end, best: None, present: [NO_CLASS; PRESENT], unknown: None });
        }
        // What was learned were latents, so what is classified are latents: the same window gives the same answer.
        self.quantiser.quantise(w.embedding, &mut self.latent)?;
        if self.unknown.is_some() || self.presence.is_some() {
            self.quantiser.dequantise(&self.latent, &mut self.x);
        }
        let mut unknown = self.unknown.map(|unknown| unknown.probability(&self.x, &mut self.p));
        self.head.probabilities(&self.latent, &mut self.p);
        if let Some(presence) = self.presence {
            presence.veto(&self.x, self.classes, &mut self.p);
            presence.probabilities(&self.x, &mut self.present);
            unknown = Some(Presence::unknown(unknown.unwrap_or(0.0), &self.p, &self.present));
        }
        Ok(Judged { start, end, best: Some(highest(&mut self.p)), present: highest(&mut self.present), unknown })
    }
}

/// Stands where there are no more classes.
const NO_CLASS: (usize, f32) = (usize::MAX, 0.0);

/// The N most probable classes, which `p` loses.
fn highest<const N: usize>(p: &mut [f32]) -> [(usize, f32); N] {
    let mut best = [NO_CLASS; N];
    for place in best.iter_mut().take(p.len()) {
        let c = argmax(p);
        *place = (c, p[c]);
        p[c] = -1.0;
    }
    best
}

/// The file's windows, and its classes by mean probability over the windows that sound: of being present where that is told (`present`
/// are the classes it is told of), else of the three best of each window.
fn sum_up(path: &Path, got: &Embedded<Judged>, classes: &[ClassName], present: Option<&[ClassName]>, rate_hz: f64) -> Heard {
    let named = present.unwrap_or(classes);
    let mut mean = vec![0f64; named.len()];
    let mut windows = Vec::with_capacity(got.windows.len());
    for w in &got.windows {
        let best = if present.is_some() { &w.present[..] } else { w.best.as_ref().map_or(&[][..], |b| b) };
        for (c, p) in best.iter().filter(|(c, _)| *c < named.len()) {
            mean[*c] += f64::from(*p);
        }
        let (class, probability) = w.best.as_ref().map_or((None, 0.0), |b| (classes.get(b[0].0).map(ToString::to_string), b[0].1));
        let (begin_s, end_s) = (w.start as f64 / rate_hz, w.end as f64 / rate_hz);
        let likely = w.present.iter().filter(|(_, p)| *p >= PRESENT_MIN);
        let present = present.map(|names| {
            likely.filter_map(|(c, p)| names.get(*c).map(|class| Present { class: class.to_string(), probability: *p })).collect()
        });
        windows.push(Window { begin_s, end_s, class, probability, present, unknown: w.unknown });
    }
    let sounding = windows.iter().filter(|w| w.class.is_some()).count().max(1) as f64;
    let mut ranked: Vec<(String, f32)> =
        named.iter().zip(&mean).filter(|(_, m)| **m > 0.0).map(|(c, m)| (c.to_string(), (m / sounding) as f32)).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranked.truncate(BEST);
    let all = || windows.iter().filter_map(|w| w.unknown);
    let unknown = (all().count() > 0).then(|| all().sum::<f32>() / all().count() as f32);
    Heard { unknown, file: path.display().to_string(), seconds: got.summary.seconds, damage: got.summary.damage.clone(), ranked, windows }
}

fn write(args: &Args, format: Format, heard: &[Heard], made: &Made) -> anyhow::Result<()> {
    let Some(folder) = &args.out else {
        return print(&format.all(heard, made)?);
    };
    std::fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
    let mut taken = std::collections::HashSet::new();
    for one in heard {
        let stem = Path::new(&one.file).file_stem().map_or_else(|| "sound".to_owned(), |s| s.to_string_lossy().into_owned());
        let mut name = stem.clone();
        let mut n = 1;
        while !taken.insert(name.clone()) {
            n += 1;
            name = format!("{stem}-{n}");
        }
        let path = folder.join(format!("{name}{}", format.suffix()));
        std::fs::write(&path, format.all(std::slice::from_ref(one), made)?).map_err(|e| Error::io("write", &path, e))?;
    }
    Ok(())
}
