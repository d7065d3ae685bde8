//! `wheatear export`: turns an ONNX classifier into a backbone, a folder with a manifest and the cut graph.

mod calibrate;
mod check;
mod inspect;
mod prepare;
mod settings;
mod write;

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use wheatear::backbone::manifest::EmbeddingScale;
use wheatear::{Error, ErrorKind, Result};

use crate::onnx::metadata::Essentials;
use crate::onnx::{external, file};

const EXAMPLES: &str = r#"Examples:
  What is in a model, and where it would be cut:
    wheatear export model.onnx

  A model that takes 1 s of samples at 16 kHz:
    wheatear export model.onnx --cut auto --out my-backbone --rate-hz 16000 --window-samples 16000 \
        --licence MIT --calibrate my-sounds

  A model that takes a log-mel spectrogram; front-end.toml holds tables as in a backbone's manifest:
    wheatear export model.onnx --cut auto --out my-backbone --front-end front-end.toml --calibrate my-sounds

    [audio]
    rate_hz = 16000
    window_samples = 15600
    hop_samples = 7800
    [normalise]
    kind = "peak"          # or kind = "none", gain = 1.0
    floor = 0.001
    [front_end]
    kind = "log-mel"       # or kind = "none", and nothing else
    n_fft = 512
    window_length = 400
    hop_length = 160
    window = "hann-periodic"
    power = 1.0
    mel_bands = 64
    mel_scale = "htk"
    mel_norm = "none"
    f_min_hz = 125.0
    f_max_hz = 7500.0
    log = { kind = "ln", add = 0.01 }

Calibration sounds should be broad (many kinds, loud and soft), not those you want to tell apart.
A model is at most 2 GiB with its weights. Numbers after --dim and --input-shape are those of one window."#;

/// Options of `wheatear export`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The ONNX model; weights in other files are read from beside it
    pub model: PathBuf,
    /// Tensor to cut at: its name, or `auto` for what feeds the last classifier layer
    #[arg(long, value_name = "TENSOR|auto")]
    pub cut: Option<String>,
    /// Folder to write the backbone to
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Short name of the backbone [default: from the file's name]
    #[arg(long)]
    pub name: Option<String>,
    /// Also write a variant with 16-bit floats
    #[arg(long)]
    pub f16: bool,
    /// Folder of broad sounds (WAV, FLAC, OGG, MP3; subfolders too) to calibrate the latent quantiser on
    #[arg(long, value_name = "FOLDER")]
    pub calibrate: Option<PathBuf>,
    /// Sample rate the model was trained for, in hertz
    #[arg(long)]
    pub rate_hz: Option<u32>,
    /// Samples of one window [default: what the model's input takes]
    #[arg(long)]
    pub window_samples: Option<u32>,
    /// Samples between two windows [default: half a window]
    #[arg(long)]
    pub hop_samples: Option<u32>,
    /// `none` when the model takes samples, else a TOML file with the front end (see the examples)
    #[arg(long, value_name = "none|FILE.toml")]
    pub front_end: Option<String>,
    /// Scaling of each window's samples
    #[arg(long)]
    pub normalise: Option<NormaliseKind>,
    /// With `--normalise none`: factor on every sample (32768 for models that expect 16-bit numbers)
    #[arg(long, value_name = "FACTOR")]
    pub gain: Option<f32>,
    /// With `--normalise peak`: smallest divisor, so that silence is not amplified
    #[arg(long, value_name = "FRACTION")]
    pub peak_floor: Option<f32>,
    /// Scaling of the embedding
    #[arg(long)]
    pub embedding_scale: Option<ScaleKind>,
    /// Reduce an embedding that has positions to one value a channel
    #[arg(long)]
    pub pool: Option<Pool>,
    /// Axes of the positions, from 0 [default: all after the second, as in [n, channels, time...]; 1 for [n, time, channels]]
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', requires = "pool")]
    pub pool_axes: Option<Vec<i64>>,
    /// Shape of the model's input for one window
    #[arg(long, value_name = "N,N,...", value_delimiter = ',')]
    pub input_shape: Option<Vec<i64>>,
    /// Fix a free dimension by its name or index; may be given several times
    #[arg(long = "dim", value_name = "NAME=N", value_parser = parse_dim)]
    pub dims: Vec<(String, i64)>,
    /// Give a further input of the model a constant value; may be given several times
    #[arg(long = "set", value_name = "INPUT=VALUE", value_parser = parse_set)]
    pub sets: Vec<(String, f64)>,
    /// Output whose classifier `--cut auto` looks for, in a model with several
    #[arg(long, value_name = "NAME")]
    pub output: Option<String>,
    /// SPDX licence of the weights
    #[arg(long)]
    pub licence: Option<String>,
    /// Where the weights come from, for a person
    #[arg(long)]
    pub source: Option<String>,
    /// What the model was trained to hear, for a person
    #[arg(long)]
    pub description: Option<String>,
    /// Only print what is in the model
    #[arg(long)]
    pub list: bool,
    /// Replace files that are there
    #[arg(long)]
    pub force: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// How samples are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NormaliseKind {
    /// Not, but for `--gain`.
    None,
    /// By the largest sample of the window.
    Peak,
}

/// How embeddings are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScaleKind {
    /// Not.
    None,
    /// To length sqrt(D).
    SqrtDim,
}

impl From<ScaleKind> for EmbeddingScale {
    fn from(kind: ScaleKind) -> EmbeddingScale {
        match kind {
            ScaleKind::None => EmbeddingScale::None,
            ScaleKind::SqrtDim => EmbeddingScale::SqrtDim,
        }
    }
}

/// How positions are reduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Pool {
    /// Mean over positions.
    Mean,
    /// Largest over positions.
    Max,
}

/// Runs the command.
///
/// # Errors
/// As the steps say; each error names the option that cures it.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut model = file::read(&args.model)?;
    let embedded = external::embed(&mut model, args.model.parent().unwrap_or(Path::new(".")))?;
    if embedded > 0 {
        log::info!("{embedded} bytes of external weights are embedded");
    }
    let essentials = Essentials::read(&model);
    prepare::set_inputs(&mut model, &args.sets)?;
    let known = settings::Settings::gather(args, &essentials)?;
    if args.list || (args.cut.is_none() && args.out.is_none()) {
        let description = inspect::describe(&args.model, &model, args, &known)?;
        if args.json {
            crate::output::print(&format!("{}\n", serde_json::to_string_pretty(&description)?))?;
        } else {
            crate::output::print(&description.to_string())?;
        }
        return Ok(());
    }
    let Some(out) = &args.out else {
        return Err(Error::new(ErrorKind::Input, "there is no place to write the backbone to")
            .cure("give --out FOLDER, or --list to only look")
            .into());
    };
    let tensor = cut_tensor(args, &model, &essentials)?;
    let prepared = prepare::prepare(&model, &tensor, args, &known)?;
    let report = write::export(&model, prepared, args, &known, &essentials, out)?;
    if args.json {
        crate::output::print(&format!("{}\n", serde_json::to_string_pretty(&report)?))?;
    } else {
        crate::output::print(&report.to_string())?;
    }
    Ok(())
}

/// The tensor that `--cut` asks for; a model that was exported before is taken as it is.
fn cut_tensor(args: &Args, model: &crate::onnx::proto::ModelProto, essentials: &Essentials) -> Result<String> {
    match (&args.cut, &model.graph) {
        (Some(cut), _) if cut != "auto" => Ok(cut.clone()),
        (None, Some(graph)) if essentials.embedding.is_some() && graph.output.len() == 1 => Ok(graph.output[0].name().to_string()),
        (None, _) => {
            Err(Error::new(ErrorKind::Input, "where to cut is not said")
                .cure("give --cut auto, or --cut TENSOR with one that `--list` prints"))
        }
        (Some(_), _) => inspect::auto(model, args.output.as_deref()).map(|a| a.tensor),
    }
}

fn parse_dim(text: &str) -> std::result::Result<(String, i64), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=NUMBER, for instance batch=1")?;
    match value.parse() {
        Ok(n) if n > 0 => Ok((name.to_string(), n)),
        _ => Err(format!("'{value}' is no number above 0")),
    }
}

fn parse_set(text: &str) -> std::result::Result<(String, f64), String> {
    let (name, value) = text.split_once('=').ok_or("write INPUT=VALUE, for instance sr=16000")?;
    value.parse().ok().filter(|v: &f64| v.is_finite()).map(|v| (name.to_string(), v)).ok_or(format!("'{value}' is no number"))
}

#[cfg(test)]
mod tests;
