//! The backbone's manifest: what a frozen graph expects, and how its embeddings become latents.
//!
//! A backbone is a folder with a `manifest.toml` and one ONNX file a [`Variant`]. Every key is checked on load: a wrong
//! one is refused with the file, the key, what is allowed and what was found.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// The name of the manifest's file inside a backbone's folder.
pub const MANIFEST_FILE: &str = "manifest.toml";
/// The manifest format this version reads and writes.
pub const MANIFEST_FORMAT: u32 = 1;

/// What a backbone is and how to use it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Manifest format: [`MANIFEST_FORMAT`].
    pub format: u32,
    /// Short name, as in `models/<name>`.
    pub name: String,
    /// What the backbone was trained to hear, for a person.
    #[serde(default)]
    pub description: String,
    /// What an input is; only audio has a front end today, the others are named so that formats need not change.
    pub modality: Modality,
    /// SPDX licence of the weights, or a sentence when there is none.
    pub licence: String,
    /// Where the weights come from (package and version, paper).
    #[serde(default)]
    pub source: String,
    /// The windowing of the audio.
    pub audio: AudioSpec,
    /// Scaling of the samples of each window.
    pub normalise: Normalise,
    /// The front end a graph with [`GraphInput::Features`] needs; it defines the features of the space also when the
    /// chosen variant computes them inside its graph.
    pub front_end: FrontEndSpec,
    /// The embedding tensor.
    pub embedding: EmbeddingSpec,
    /// How embeddings become integer latents; absent until calibrated, and then the backbone cannot teach or classify.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantiser: Option<QuantiserSpec>,
    /// The graphs; the first is the reference that defines the space.
    pub variant: Vec<Variant>,
}

/// What kind of input the backbone takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Modality {
    /// A window of mono audio.
    Audio,
    /// A picture.
    Image,
    /// A text.
    Text,
}

/// Windowing, in samples at `rate_hz`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudioSpec {
    /// Sample rate of the windows in hertz, 1000..=768000.
    pub rate_hz: u32,
    /// Samples that one embedding covers.
    pub window_samples: u32,
    /// Samples between the starts of two windows, at most the window.
    pub hop_samples: u32,
}

/// Scaling of a window's samples before the front end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Normalise {
    /// Samples are used as they are, full scale being 1, times `gain` (32768 for graphs that expect 16-bit numbers).
    None {
        /// Factor on every sample.
        gain: f32,
    },
    /// Divided by the largest absolute sample of the window, or by `floor` where that is larger, so that silence is
    /// never amplified into a sound.
    Peak {
        /// Smallest divisor, as a fraction of full scale; above 0.
        floor: f32,
    },
}

/// The front end between samples and graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum FrontEndSpec {
    /// The graph takes the samples.
    None,
    /// Log-mel spectrogram, frames without padding: `1 + (window - n_fft) / hop` of them, each row one frame.
    LogMel(LogMelSpec),
}

/// Log-mel spectrogram.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogMelSpec {
    /// FFT length in samples.
    pub n_fft: u32,
    /// Window length in samples, at most `n_fft`: centred in it, `(n_fft - window_length) / 2` zeros (rounded down)
    /// before it and the rest after it.
    pub window_length: u32,
    /// Samples between frames.
    pub hop_length: u32,
    /// Window shape.
    pub window: WindowShape,
    /// Exponent on the magnitude of the unscaled DFT: 1 (magnitude) or 2 (power).
    pub power: f32,
    /// Number of mel bands.
    pub mel_bands: u32,
    /// Mel scale on which the `mel_bands + 2` band edges are equally spaced from `f_min_hz` to `f_max_hz`. The
    /// triangles between them are linear in hertz, sampled at the FFT bins' frequencies `k rate_hz / n_fft`.
    pub mel_scale: MelScale,
    /// Scaling of each triangle.
    pub mel_norm: MelNorm,
    /// Lowest band edge in hertz.
    pub f_min_hz: f32,
    /// Highest band edge in hertz, at most half the rate.
    pub f_max_hz: f32,
    /// The logarithm on each mel value.
    pub log: LogForm,
    /// After the logarithm: `x * scale + offset`.
    #[serde(default = "one")]
    pub scale: f32,
    /// See `scale`.
    #[serde(default)]
    pub offset: f32,
}

fn one() -> f32 {
    1.0
}

/// Analysis window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowShape {
    /// Hann with period `window_length` (as librosa and torch use for STFT).
    HannPeriodic,
    /// Hann with period `window_length - 1` (as scipy's and numpy's symmetric one, and Essentia's).
    HannSymmetric,
}

/// Mel scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MelScale {
    /// `2595 log10(1 + f / 700)` (HTK; O'Shaughnessy 1987).
    Htk,
    /// Linear below 1 kHz (`3 f / 200`), logarithmic above (`15 + 27 ln(f / 1000) / ln 6.4`; Slaney 1998, Auditory
    /// Toolbox).
    Slaney,
}

/// Scaling of each mel triangle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MelNorm {
    /// Peak 1.
    None,
    /// Divided by the sum of its weights over the FFT bins (Essentia's `unit_sum`); a triangle too narrow to hold a bin
    /// stays 0.
    Sum,
    /// Area-normalised: times `2 / (f_right - f_left)` in hertz (Slaney, librosa's default).
    Slaney,
}

/// Logarithm of a mel value `m >= 0`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum LogForm {
    /// No logarithm.
    None,
    /// `ln(m + add)`.
    Ln {
        /// Added before the logarithm, above 0.
        add: f32,
    },
    /// `log10(1 + factor m)`.
    Log10OnePlus {
        /// Factor on the mel value.
        factor: f32,
    },
    /// `10 log10(max(m, floor))`, then clipped to at most `range_db` below the largest value of the window.
    Decibel {
        /// Smallest mel value.
        floor: f32,
        /// Dynamic range kept, in dB; 0 keeps all.
        range_db: f32,
    },
}

/// The embedding tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingSpec {
    /// Number of components D, 1..=8192.
    pub dim: u32,
    /// Scaling of the raw tensor.
    pub scale: EmbeddingScale,
}

/// Scaling of an embedding before it is quantised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EmbeddingScale {
    /// As the graph gives it.
    None,
    /// Scaled to Euclidean length sqrt(D); an embedding of length 0 stays 0.
    SqrtDim,
}

/// The latent quantiser: `q = clamp(round(x / scale), -m, m)` with `m = 2^(bits-1) - 1`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantiserSpec {
    /// Bits of a component, 4..=8.
    pub bits: u8,
    /// What the scales were calibrated on, for a person.
    #[serde(default)]
    pub calibrated_on: String,
    /// One scale a dimension, above 0.
    pub scale: Vec<f32>,
}

/// One ONNX file of the backbone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Name to choose it by, for instance `mel-f32`.
    pub name: String,
    /// File name inside the backbone's folder.
    pub file: String,
    /// Digest of the file, lower-case hexadecimal.
    pub sha256: String,
    /// Number type of the weights.
    pub precision: Precision,
    /// What the graph takes.
    pub input: GraphInput,
    /// Name of the graph's input.
    pub input_name: String,
    /// Shape given to the graph's input, batch first; its product is the number of samples or features of a window.
    pub input_shape: Vec<u32>,
    /// Name of the graph's output that holds the embedding (any shape with D elements).
    pub output_name: String,
}

/// Number type of a variant's weights; inputs and outputs stay f32 or follow the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// 8-bit integers.
    Int8,
}

/// What a variant's graph takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GraphInput {
    /// The normalised samples of a window; the front end is inside the graph.
    Waveform,
    /// The front end's features, frame after frame, each `mel_bands` long.
    Features,
}

impl Manifest {
    /// Level below which a window is taken for silence: the floor of peak normalisation, or -60 dBFS.
    pub fn silence_peak(&self) -> f32 {
        match self.normalise {
            Normalise::Peak { floor } => floor,
            Normalise::None { .. } => 1e-3,
        }
    }

    /// Reads and checks `folder/manifest.toml` (or the manifest file itself).
    ///
    /// Returns the manifest and the folder it lies in.
    ///
    /// # Errors
    /// `Missing` when there is none, `Config` with the key when it is wrong.
    pub fn load(path: &Path) -> Result<(Manifest, PathBuf)> {
        let file = if path.is_dir() { path.join(MANIFEST_FILE) } else { path.to_path_buf() };
        let text = std::fs::read_to_string(&file).map_err(|e| {
            Error::io("read the backbone's manifest", &file, e).cure("give the folder that `wheatear export` or `cargo xtask setup` wrote")
        })?;
        let manifest = Manifest::parse(&text).map_err(|e| match e.place() {
            Some(key) => {
                let at = format!("{}, {key}", file.display());
                e.at(at)
            }
            None => e.at(file.display()),
        })?;
        let folder = file.parent().unwrap_or(Path::new(".")).to_path_buf();
        Ok((manifest, folder))
    }

    /// Parses and checks a manifest's text.
    ///
    /// # Errors
    /// `Config` with the key, what is allowed and what was found.
    pub fn parse(text: &str) -> Result<Manifest> {
        let manifest: Manifest = toml::from_str(text).map_err(|e| {
            Error::new(ErrorKind::Config, "the manifest cannot be read").found(e.to_string().trim_end()).cure("correct the manifest")
        })?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// The variant called `name`, or the reference (the first) when `name` is `None`.
    ///
    /// # Errors
    /// `Config` when there is no such variant.
    pub fn variant(&self, name: Option<&str>) -> Result<&Variant> {
        let found = match name {
            None => self.variant.first(),
            Some(name) => self.variant.iter().find(|v| v.name == name),
        };
        found.ok_or_else(|| {
            let names: Vec<&str> = self.variant.iter().map(|v| v.name.as_str()).collect();
            Error::new(ErrorKind::Config, "the backbone has no such variant")
                .at(&self.name)
                .expected(names.join(", "))
                .found(name.unwrap_or("none"))
        })
    }

    /// Number of values in one window of front-end features, or of samples when there is no front end.
    pub fn features_per_window(&self) -> usize {
        match &self.front_end {
            FrontEndSpec::None => self.audio.window_samples as usize,
            FrontEndSpec::LogMel(mel) => mel.frames(self.audio.window_samples as usize) * mel.mel_bands as usize,
        }
    }

    /// Checks every value; parsing calls it, writers should too.
    ///
    /// # Errors
    /// `Config` with the key, what is allowed and what was found.
    pub fn validate(&self) -> Result<()> {
        let a = &self.audio;
        check("format", self.format == MANIFEST_FORMAT, MANIFEST_FORMAT, self.format)?;
        check("name", is_file_name(&self.name), "letters, digits, '-', '_' and '.'", &self.name)?;
        check("audio.rate_hz", (1000..=768_000).contains(&a.rate_hz), "1000 to 768000", a.rate_hz)?;
        check("audio.window_samples", (1..=60 * 768_000).contains(&a.window_samples), "1 to 46080000", a.window_samples)?;
        check("audio.hop_samples", (1..=a.window_samples).contains(&a.hop_samples), "1 to window_samples", a.hop_samples)?;
        match self.normalise {
            Normalise::None { gain } => check("normalise.gain", gain.is_finite() && gain > 0.0, "above 0", gain)?,
            Normalise::Peak { floor } => check("normalise.floor", floor > 0.0 && floor <= 1.0, "above 0, at most 1", floor)?,
        }
        if let FrontEndSpec::LogMel(mel) = &self.front_end {
            mel.validate(a)?;
        }
        let dim = self.embedding.dim;
        check("embedding.dim", (1..=8192).contains(&dim), "1 to 8192", dim)?;
        if let Some(q) = &self.quantiser {
            check("quantiser.bits", (4..=8).contains(&q.bits), "4 to 8", q.bits)?;
            check("quantiser.scale", q.scale.len() == dim as usize, format!("{dim} values"), format!("{} values", q.scale.len()))?;
            if let Some(i) = q.scale.iter().position(|s| !s.is_finite() || *s <= 0.0) {
                check("quantiser.scale", false, "finite values above 0", format!("{} at index {i}", q.scale[i]))?;
            }
        }
        check("variant", !self.variant.is_empty(), "at least one [[variant]]", "none")?;
        self.variant.iter().try_for_each(|v| self.validate_variant(v))
    }

    fn validate_variant(&self, v: &Variant) -> Result<()> {
        let key = |k: &str| format!("variant {}, {k}", v.name);
        check(&key("file"), is_file_name(&v.file), "a file name without folders", &v.file)?;
        let hex = v.sha256.len() == 64 && v.sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        check(&key("sha256"), hex, "64 lower-case hexadecimal digits", &v.sha256)?;
        let values = match v.input {
            GraphInput::Waveform => self.audio.window_samples as usize,
            GraphInput::Features => self.features_per_window(),
        };
        let shape = v.input_shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d as usize));
        let found = format!("{:?}", v.input_shape);
        check(&key("input_shape"), shape == Some(values) && values > 0, format!("a product of {values}"), found)
    }
}

impl LogMelSpec {
    /// Frames in `samples` samples: `1 + (samples - n_fft) / hop_length`, or 0 when there are fewer than `n_fft`.
    pub fn frames(&self, samples: usize) -> usize {
        let (n_fft, hop) = (self.n_fft as usize, self.hop_length as usize);
        if samples < n_fft { 0 } else { 1 + (samples - n_fft) / hop }
    }

    fn validate(&self, a: &AudioSpec) -> Result<()> {
        check(
            "front_end.n_fft",
            (16..=65536).contains(&self.n_fft) && self.n_fft <= a.window_samples,
            "16 to 65536, at most the window",
            self.n_fft,
        )?;
        check("front_end.window_length", (2..=self.n_fft).contains(&self.window_length), "2 to n_fft", self.window_length)?;
        check("front_end.hop_length", (1..=a.window_samples).contains(&self.hop_length), "1 to window_samples", self.hop_length)?;
        check("front_end.power", self.power == 1.0 || self.power == 2.0, "1 or 2", self.power)?;
        check("front_end.mel_bands", (1..=1024).contains(&self.mel_bands), "1 to 1024", self.mel_bands)?;
        let nyquist = a.rate_hz as f32 / 2.0;
        check("front_end.f_max_hz", self.f_max_hz > 0.0 && self.f_max_hz <= nyquist, format!("above 0, at most {nyquist}"), self.f_max_hz)?;
        check("front_end.f_min_hz", self.f_min_hz >= 0.0 && self.f_min_hz < self.f_max_hz, "0 to below f_max_hz", self.f_min_hz)?;
        check("front_end.scale", self.scale.is_finite() && self.scale != 0.0, "finite, not 0", self.scale)?;
        check("front_end.offset", self.offset.is_finite(), "finite", self.offset)?;
        let log_ok = match self.log {
            LogForm::None => true,
            LogForm::Ln { add } => add.is_finite() && add > 0.0,
            LogForm::Log10OnePlus { factor } => factor.is_finite() && factor > 0.0,
            LogForm::Decibel { floor, range_db } => floor.is_finite() && floor > 0.0 && range_db.is_finite() && range_db >= 0.0,
        };
        check("front_end.log", log_ok, "finite constants above 0", format!("{:?}", self.log))
    }
}

fn is_file_name(s: &str) -> bool {
    !s.is_empty() && s.len() <= 128 && !s.starts_with('.') && s.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn check(key: &str, ok: bool, allowed: impl std::fmt::Display, found: impl std::fmt::Display) -> Result<()> {
    if ok {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Config, "a manifest value is not allowed")
        .at(key)
        .expected(allowed)
        .found(found)
        .cure("correct the manifest"))
}
