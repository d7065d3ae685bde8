//! `wheatear classify`: what is heard in sound files, window by window.

mod format;

use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, ValueEnum};
use wheatear::head::{Head, HeadKind};
use wheatear::latent::{Quantiser, SpaceId};
use wheatear::learn::ClassName;
use wheatear::learner::{self, Answer, Judge, Served, judge};
use wheatear::pipeline;
use wheatear::service::adapter::tell_large;
use wheatear::store::Access;
use wheatear::{Error, ErrorKind, Result};

use crate::board::{BoardArgs, budget_of};
use crate::clock;
use crate::embed::{BackboneArgs, ConfigArgs, Embedded, adapter_folder, embed_files, progress};
use crate::opened::{open, refusal, serving};
use crate::output::{first_few, print};
use crate::recorded::recorded;
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
    #[command(flatten)]
    board: BoardArgs,
    /// Adapter
    #[arg(long, value_name = "FOLDER", env = "WHEATEAR_ADAPTER")]
    adapter: Option<PathBuf>,
    /// Head that classifies; without it auto
    #[arg(long, value_enum)]
    head: Option<HeadArg>,
    /// table: a line a file; csv and json: every window; events, raven and audacity: stretches of one class, which may overlap. A window's
    /// class is its most probable one; where the classes that are present are told, that of them, and none where none is
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
    let board = args.board.load(&config)?;
    let budget = budget_of(board.as_ref());
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
    tell_large(board.as_ref(), &adapter);
    let quantiser = adapter.quantiser()?;
    let (served, generation, refusal) = match args.head.map(HeadKind::from).or(config.classify.head).unwrap_or_default() {
        HeadKind::Auto => {
            let standing = serving(&adapter, &budget)?;
            let refused = standing.verdict.as_ref().filter(|v| !v.accepts());
            let refusal = refused.map(|verdict| refusal(adapter.folder(), standing.generation, verdict));
            (standing.served, standing.generation, refusal)
        }
        kind => (learner::serve(&adapter, kind, &budget)?, adapter.generation(), None),
    };
    if !served.doubtful.is_empty() {
        let (count, folder) = (served.doubtful.len(), adapter.folder().display());
        log::warn!("{count} labels are probably wrong and were left out of the head: wheatear inspect {folder} --head names them");
    }
    let unjudged = served.unjudged(&adapter);
    unjudged.iter().for_each(|why| log::warn!("{}: {why}", adapter.folder().display()));
    let present = served.presence.as_ref().and_then(|p| p.present.as_ref()).map(Head::classes);
    let (rate_hz, silence) = (f64::from(manifest.audio.rate_hz), manifest.silence_peak());
    let mut heard: Vec<Heard> = Vec::new();
    let mut unusable: Vec<String> = Vec::new();
    let bar = progress("classifying", files.len());
    embed_files(
        &backbone,
        &files,
        || judging(&served, &quantiser, silence),
        |i, got| {
            match got {
                Ok(got) => {
                    let unjudged = unjudged.clone();
                    heard.push(Heard { unjudged, ..sum_up(&files[i], &got, served.head.classes(), present, rate_hz) });
                }
                Err(e) if matches!(e.kind(), ErrorKind::Input | ErrorKind::Missing | ErrorKind::Storage) => {
                    bar.suspend(|| log::error!("{e}"));
                    unusable.push(e.to_string());
                }
                Err(e) => return Err(e),
            }
            bar.inc(1);
            Ok(())
        },
    )?;
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
        n => {
            let others = if n == files.len() { "" } else { ", the others are classified" };
            let what = format!("{n} of {} sounds could not be used{others}", files.len());
            Err(Error::new(ErrorKind::Input, what).at(first_few(&unusable)).into())
        }
    }
}

fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() { files.extend(sounds_in(path)?) } else { files.push(path.clone()) }
    }
    Ok(files)
}

/// What a window was taken for: its place in samples, and what was said of it unless it is silent.
struct Judged {
    start: u64,
    end: u64,
    answer: Option<Answer>,
}

/// Probability from which a class is among those that may be present.
const PRESENT_MIN: f32 = 0.05;

/// Turns windows into answers, in buffers of its own.
fn judging(served: &Served, quantiser: &Quantiser, silence: f32) -> impl FnMut(&pipeline::Window<'_>) -> Result<Judged> {
    let (mut judge, quantiser, mut latent) = (Judge::new(served, quantiser), quantiser.clone(), vec![0; quantiser.dim()]);
    move |w| {
        let (start, end) = (w.start, w.start + w.len as u64);
        if w.peak < silence {
            return Ok(Judged { start, end, answer: None });
        }
        quantiser.quantise(w.embedding, &mut latent)?;
        Ok(Judged { start, end, answer: Some(judge.judge(&latent)) })
    }
}

/// The file's windows, and its classes by mean probability over the windows that sound: of being present where that is told (`present`
/// are the classes it is told of), else of the three best of each window.
fn sum_up(path: &Path, got: &Embedded<Judged>, classes: &[ClassName], present: Option<&[ClassName]>, rate_hz: f64) -> Heard {
    let named = present.unwrap_or(classes);
    let mut mean = vec![0f64; named.len()];
    let mut windows = Vec::with_capacity(got.windows.len());
    for w in &got.windows {
        let answer = w.answer.as_ref();
        let best = answer.map_or(&[][..], |a| if present.is_some() { &a.present[..] } else { &a.best });
        for (c, p) in best.iter().filter(|(c, _)| *c < named.len()) {
            mean[*c] += f64::from(*p);
        }
        // The same head says which class it is and which are present, so that the two agree.
        let first = best.first().filter(|(_, p)| present.is_none() || *p >= PRESENT_MIN);
        let (class, probability) = first.and_then(|(c, p)| Some((named.get(*c)?.to_string(), *p))).unzip();
        let (begin_s, end_s) = (w.start as f64 / rate_hz, w.end as f64 / rate_hz);
        let likely = answer.iter().flat_map(|a| &a.present).filter(|(_, p)| *p >= PRESENT_MIN);
        let present = present.map(|names| {
            likely.filter_map(|(c, p)| names.get(*c).map(|class| Present { class: class.to_string(), probability: *p })).collect()
        });
        let (probability, unknown) = (probability.unwrap_or(0.0), answer.and_then(|a| a.unknown));
        windows.push(Window { begin_s, end_s, class, probability, present, unknown });
    }
    let sounding = windows.iter().filter(|w| w.sounds()).count().max(1) as f64;
    let mut ranked: Vec<(String, f32)> =
        named.iter().zip(&mean).filter(|(_, m)| **m > 0.0).map(|(c, m)| (c.to_string(), (m / sounding) as f32)).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranked.truncate(judge::BEST);
    let all = || windows.iter().filter_map(|w| w.unknown);
    let unknown = (all().count() > 0).then(|| all().sum::<f32>() / all().count() as f32);
    let (file, seconds, damage) = (path.display().to_string(), got.summary.seconds, got.summary.damage.clone());
    Heard { unknown, file, seconds, damage, unjudged: None, recorded: recorded(path), ranked, windows }
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

#[cfg(test)]
mod tests {
    use super::*;
    use learner::judge::NO_CLASS;
    use wheatear::pipeline::FileSummary;

    #[test]
    fn the_class_of_a_window_is_the_first_of_those_present_where_they_are_told() {
        let names = ["robin", "wren"].map(|name| ClassName::new(name).unwrap());
        let answer = |wren: f32, robin: f32| {
            let (mut best, mut present) = ([NO_CLASS; judge::BEST], [NO_CLASS; judge::PRESENT]);
            (best[0], best[1]) = ((0, 0.9), (1, 0.1));
            (present[0], present[1]) = ((1, wren), (0, robin));
            Some(Answer { best, present, unknown: Some(0.2) })
        };
        let judged = |answer| Judged { start: 0, end: 8, answer };
        let windows = vec![judged(answer(0.8, 0.3)), judged(answer(0.04, 0.01)), judged(None)];
        let summary = FileSummary { windows: 3, seconds: 3.0, rate_hz: 8, channels: 1, damage: None };
        let got = Embedded { windows, summary };
        let said = |present| {
            let heard = sum_up(Path::new("a.wav"), &got, &names, present, 8.0);
            heard.windows.into_iter().map(|w| (w.sounds(), w.class.unwrap_or_default(), w.probability)).collect::<Vec<_>>()
        };
        let is = |sounds, class: &str, p| (sounds, class.to_owned(), p);
        assert_eq!(said(Some(&names[..])), [is(true, "wren", 0.8), is(true, "", 0.0), is(false, "", 0.0)]);
        assert_eq!(said(None), [is(true, "robin", 0.9), is(true, "robin", 0.9), is(false, "", 0.0)]);
    }
}
