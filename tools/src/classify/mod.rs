//! `wheatear classify`: what is heard in sound files, window by window.

mod format;

use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, ValueEnum};
use wheatear::head::{Head, LinearHead, Moments, SolvedHead, argmax};
use wheatear::latent::{Quantiser, SpaceId};
use wheatear::learn::BlockKind;
use wheatear::store::{Access, Adapter};
use wheatear::{Error, ErrorKind, Result};

use crate::clock;
use crate::embed::{BackboneArgs, ConfigArgs, Embedded, adapter_folder, embed_files, progress, silence_peak};
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
    /// Head that classifies; without it slda
    #[arg(long, value_enum)]
    head: Option<HeadArg>,
    /// table: a line a file; csv and json: every window; events, raven and audacity: stretches of one class
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Write a file a sound here, instead of standard output (raven and audacity with several sounds need it)
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Windows less probable than this make no stretch; without it 0.5
    #[arg(long, value_name = "P", value_parser = probability)]
    min_probability: Option<f32>,
    /// Same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum HeadArg {
    Ncm,
    Slda,
    Ridge,
}

impl From<HeadArg> for SolvedHead {
    fn from(head: HeadArg) -> SolvedHead {
        match head {
            HeadArg::Ncm => SolvedHead::Ncm,
            HeadArg::Slda => SolvedHead::Slda,
            HeadArg::Ridge => SolvedHead::Ridge,
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
    let backbone = args.backbone.choose(&config)?;
    let format = if args.json { Format::Json } else { args.format };
    let files = files(&args.paths)?;
    if format.one_file_each() && files.len() > 1 && args.out.is_none() {
        return Err(Error::new(ErrorKind::Config, "this format needs a file a sound")
            .at(format!("{} sounds", files.len()))
            .cure("add --out FOLDER")
            .into());
    }
    let manifest = backbone.manifest()?;
    let adapter = Adapter::open(&adapter_folder(args.adapter.as_deref(), &config)?, Access::Read)?;
    adapter.check_space(SpaceId::of(&manifest, Some(adapter.header().creation.bits))?, &manifest.name)?;
    let quantiser = adapter.quantiser()?;
    let head = solve(&adapter, args.head.map(SolvedHead::from).or(config.classify.head).unwrap_or(SolvedHead::Slda))?;
    let (rate_hz, silence) = (f64::from(manifest.audio.rate_hz), silence_peak(&manifest));
    let mut heard: Vec<Heard> = Vec::new();
    let mut unusable: Vec<String> = Vec::new();
    let bar = progress("classifying", files.len());
    embed_files(&backbone, &files, |i, got| {
        match got {
            Ok(got) => heard.push(classify(&files[i], &got, &head, &quantiser, rate_hz, silence)?),
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

fn solve(adapter: &Adapter, head: SolvedHead) -> Result<LinearHead> {
    let block = adapter.block(BlockKind::Latents)?.ok_or_else(|| {
        Error::new(ErrorKind::Learn, "the adapter has learned nothing yet")
            .at(adapter.folder().display())
            .cure("teach it: wheatear teach FOLDER ...")
    })?;
    let moments = Moments::new(&block, &adapter.header().creation.scale)?;
    head.solve(&moments)
}

fn classify(path: &Path, got: &Embedded, head: &LinearHead, quantiser: &Quantiser, rate_hz: f64, silence: f32) -> Result<Heard> {
    let dim = quantiser.dim();
    let (mut latent, mut x) = (vec![0i8; dim], vec![0f32; dim]);
    let classes = head.classes();
    let mut p = vec![0f32; classes.len()];
    let mut windows = Vec::with_capacity(got.windows.len());
    let mut mean = vec![0f64; classes.len()];
    for (at, embedding) in got.windows.iter().zip(got.embeddings.chunks_exact(dim)) {
        let begin_s = at.start as f64 / rate_hz;
        let end_s = (at.start + at.len as u64) as f64 / rate_hz;
        let silent = at.peak < silence;
        if silent {
            windows.push(Window { begin_s, end_s, class: None, probability: 0.0 });
            continue;
        }
        // What was learned were latents, so what is classified are latents: the same window gives the same answer.
        quantiser.quantise(embedding, &mut latent)?;
        quantiser.dequantise(&latent, &mut x);
        head.probabilities(&x, &mut p);
        let best = argmax(&p);
        mean.iter_mut().zip(&p).for_each(|(m, p)| *m += f64::from(*p));
        windows.push(Window { begin_s, end_s, class: Some(classes[best].to_string()), probability: p[best] });
    }
    let sounding = windows.iter().filter(|w| w.class.is_some()).count();
    let mut ranked: Vec<(String, f32)> =
        classes.iter().zip(&mean).map(|(c, m)| (c.to_string(), (*m / sounding.max(1) as f64) as f32)).filter(|(_, p)| *p > 0.0).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranked.truncate(3);
    Ok(Heard { file: path.display().to_string(), seconds: got.summary.seconds, damage: got.summary.damage.clone(), ranked, windows })
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
