//! What is known about a model's audio: from the options, then the front-end file, then the model's own metadata.

use std::path::Path;

use serde::Deserialize;
use wheatear::backbone::manifest::{AudioSpec, EmbeddingScale, FrontEndSpec, Normalise};
use wheatear::{Error, ErrorKind, Result};

use super::{Args, NormaliseKind};
use crate::onnx::metadata::Essentials;

/// Defaults where neither option, file nor metadata says anything.
const PEAK_FLOOR: f32 = 0.001;

/// What is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Sample rate.
    pub rate_hz: Option<u32>,
    /// Window.
    pub window_samples: Option<u32>,
    /// Hop.
    pub hop_samples: Option<u32>,
    /// Scaling of samples.
    pub normalise: Normalise,
    /// Front end.
    pub front_end: FrontEndSpec,
    /// Whether someone said what the front end is.
    pub front_end_given: bool,
    /// Scaling of embeddings.
    pub embedding_scale: EmbeddingScale,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FrontEndFile {
    audio: Option<AudioSpec>,
    normalise: Option<Normalise>,
    front_end: Option<FrontEndSpec>,
    embedding: Option<EmbeddingTable>,
}

/// The `[embedding]` table; the dimension is measured.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EmbeddingTable {
    scale: EmbeddingScale,
    #[serde(rename = "dim")]
    _dim: Option<u32>,
}

impl Settings {
    /// Puts together what is known.
    ///
    /// # Errors
    /// `Missing` or `Config` when the front-end file cannot be used.
    pub fn gather(args: &Args, essentials: &Essentials) -> Result<Settings> {
        let file = match args.front_end.as_deref() {
            None => FrontEndFile::default(),
            Some("none") => FrontEndFile { front_end: Some(FrontEndSpec::None), ..FrontEndFile::default() },
            Some(path) => read(Path::new(path))?,
        };
        let audio = file.audio.or(essentials.audio.clone());
        let front_end = file.front_end.or(essentials.front_end.clone());
        let normalise = file.normalise.or(essentials.normalise.clone());
        let given = args.normalise.or(args.gain.map(|_| NormaliseKind::None)).or(args.peak_floor.map(|_| NormaliseKind::Peak));
        let normalise = match (given, normalise) {
            (Some(NormaliseKind::None), _) => Normalise::None { gain: args.gain.unwrap_or(1.0) },
            (Some(NormaliseKind::Peak), _) => Normalise::Peak { floor: args.peak_floor.unwrap_or(PEAK_FLOOR) },
            (None, Some(known)) => known,
            (None, None) => Normalise::None { gain: 1.0 },
        };
        let scale = file.embedding.map(|e| e.scale).or(essentials.embedding.as_ref().map(|e| e.scale));
        Ok(Settings {
            rate_hz: args.rate_hz.or(audio.as_ref().map(|a| a.rate_hz)),
            window_samples: args.window_samples.or(audio.as_ref().map(|a| a.window_samples)),
            hop_samples: args.hop_samples.or(audio.as_ref().map(|a| a.hop_samples)),
            normalise,
            front_end_given: front_end.is_some(),
            front_end: front_end.unwrap_or(FrontEndSpec::None),
            embedding_scale: args.embedding_scale.map(Into::into).or(scale).unwrap_or(EmbeddingScale::SqrtDim),
        })
    }

    /// Values that one window puts into the graph, if that is known.
    pub fn values(&self) -> Option<usize> {
        let window = self.window_samples? as usize;
        match &self.front_end {
            FrontEndSpec::None => Some(window),
            FrontEndSpec::LogMel(mel) if mel.hop_length > 0 => Some(mel.frames(window) * mel.mel_bands as usize),
            FrontEndSpec::LogMel(_) => None,
        }
    }

    /// The windowing, for a window of `window_samples`.
    ///
    /// # Errors
    /// `Config` when the rate is not known.
    pub fn audio(&self, window_samples: u32) -> Result<AudioSpec> {
        let rate_hz = self.rate_hz.ok_or_else(|| {
            Error::new(ErrorKind::Config, "the sample rate of the model is not known")
                .cure("give the rate it was trained for: --rate-hz 16000 (yours), or [audio] in --front-end FILE.toml")
        })?;
        Ok(AudioSpec { rate_hz, window_samples, hop_samples: self.hop_samples.unwrap_or(window_samples.div_ceil(2)) })
    }
}

fn read(path: &Path) -> Result<FrontEndFile> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Error::io("read the front end", path, e).cure("give `none` or a TOML file; see wheatear export --help"))?;
    toml::from_str(&text).map_err(|e| {
        Error::new(ErrorKind::Config, "the front-end file cannot be read")
            .at(path.display())
            .found(e.to_string().trim_end())
            .cure("use the tables [audio], [normalise], [front_end] and [embedding] as in the example of wheatear export --help")
    })
}
