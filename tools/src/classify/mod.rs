//! `wheatear classify`: what is heard in sound files, window by window.

mod format;

use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, ValueEnum};
use wheatear::head::{Head, HeadKind, LatentHead, LinearHead, Unknown, argmax};
use wheatear::latent::{Quantiser, SpaceId};
use wheatear::learn::ClassName;
use wheatear::learner::{self, Served};
use wheatear::pipeline;
use wheatear::store::Access;
use wheatear::{Error, ErrorKind, Result};

use crate::clock;
use crate::embed::{BackboneArgs, ConfigArgs, Embedded, adapter_folder, embed_files, progress, silence_peak};
use crate::opened::{open, serving};
use crate::output::print;
use crate::sounds::sounds_in;
use format::{Format, Heard, Made, Window};

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
    /// table: a line a file; csv and json: every window; events, raven and audacity: stretches of one class
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
    let served = match args.head.map(HeadKind::from).or(config.classify.head).unwrap_or_default() {
        HeadKind::Auto => serving(&adapter)?,
        kind => learner::serve(&adapter, kind)?,
    };
    let Served { head, unknown, doubtful, .. } = served;
    if !doubtful.is_empty() {
        let (count, folder) = (doubtful.len(), adapter.folder().display());
        log::warn!("{count} labels are probably wrong and were left out of the head: wheatear inspect {folder} --head names them");
    }
    let (rate_hz, silence) = (f64::from(manifest.audio.rate_hz), silence_peak(&manifest));
    let mut heard: Vec<Heard> = Vec::new();
    let mut unusable: Vec<String> = Vec::new();
    let bar = progress("classifying", files.len());
    let turner = || {
        let mut judge = Judge::new(&head, unknown.as_ref(), &quantiser, silence);
        move |w: &pipeline::Window<'_>| judge.judge(w)
    };
    embed_files(&backbone, &files, turner, |i, got| {
        match got {
            Ok(got) => heard.push(sum_up(&files[i], &got, head.classes(), rate_hz)),
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
        generation: adapter.generation(),
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
    unknown: Option<f32>,
}

/// Classes of a window that are kept for the file's summary.
const BEST: usize = 3;

/// Turns embeddings into classes, in buffers of its own.
struct Judge<'a> {
    head: LatentHead,
    unknown: Option<&'a Unknown>,
    quantiser: &'a Quantiser,
    silence: f32,
    latent: Vec<i8>,
    x: Vec<f32>,
    p: Vec<f32>,
}

impl<'a> Judge<'a> {
    fn new(head: &'a LinearHead, unknown: Option<&'a Unknown>, quantiser: &'a Quantiser, silence: f32) -> Judge<'a> {
        let (dim, p) = (quantiser.dim(), vec![0.0; head.classes().len()]);
        let head = LatentHead::new(head, quantiser.scale());
        Judge { head, unknown, quantiser, silence, latent: vec![0; dim], x: vec![0.0; dim], p }
    }

    fn judge(&mut self, w: &pipeline::Window<'_>) -> Result<Judged> {
        let (start, end) = (w.start, w.start + w.len as u64);
        if w.peak < self.silence {
            return Ok(Judged { start, end, best: None, unknown: None });
        }
        // What was learned were latents, so what is classified are latents: the same window gives the same answer.
        self.quantiser.quantise(w.embedding, &mut self.latent)?;
        let unknown = self.unknown.map(|unknown| {
            self.quantiser.dequantise(&self.latent, &mut self.x);
            unknown.probability(&self.x, &mut self.p)
        });
        self.head.probabilities(&self.latent, &mut self.p);
        let mut best = [(usize::MAX, 0.0); BEST];
        for place in best.iter_mut().take(self.p.len()) {
            let c = argmax(&self.p);
            *place = (c, self.p[c]);
            self.p[c] = -1.0;
        }
        Ok(Judged { start, end, best: Some(best), unknown })
    }
}

/// The file's windows, and its classes by mean probability over the windows that sound (of each window the three best count).
fn sum_up(path: &Path, got: &Embedded<Judged>, classes: &[ClassName], rate_hz: f64) -> Heard {
    let mut mean = vec![0f64; classes.len()];
    let mut windows = Vec::with_capacity(got.windows.len());
    for w in &got.windows {
        for (c, p) in w.best.iter().flatten().filter(|(c, _)| *c < classes.len()) {
            mean[*c] += f64::from(*p);
        }
        let (class, probability) = w.best.as_ref().map_or((None, 0.0), |b| (classes.get(b[0].0).map(ToString::to_string), b[0].1));
        let (begin_s, end_s) = (w.start as f64 / rate_hz, w.end as f64 / rate_hz);
        windows.push(Window { begin_s, end_s, class, probability, unknown: w.unknown });
    }
    let sounding = windows.iter().filter(|w| w.class.is_some()).count().max(1) as f64;
    let mut ranked: Vec<(String, f32)> =
        classes.iter().zip(&mean).filter(|(_, m)| **m > 0.0).map(|(c, m)| (c.to_string(), (m / sounding) as f32)).collect();
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
