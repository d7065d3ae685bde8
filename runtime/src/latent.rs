//! Latents: embeddings as small integers, one fixed scale a dimension, and the space that makes them comparable.
//!
//! `q = clamp(round(x / s), -m, m)` with `m = 2^(bits-1) - 1`, ties away from zero. A component that is not finite
//! cannot be quantised; the embedding is refused.

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::backbone::manifest::{EmbeddingScale, FrontEndSpec, LogForm, Manifest, MelNorm, MelScale, Modality, Normalise, WindowShape};
use crate::{Error, ErrorKind, Result};

/// Turns embeddings into latents and back.
#[derive(Debug, Clone)]
pub struct Quantiser {
    bits: u8,
    scale: Vec<f32>,
}

impl Quantiser {
    /// A quantiser of `bits` (4..=8) with one scale a dimension, `scale` \[D\].
    ///
    /// # Errors
    /// `Config` when the bits or a scale are out of range.
    pub fn new(bits: u8, scale: Vec<f32>) -> Result<Quantiser> {
        if !(4..=8).contains(&bits) {
            return Err(Error::new(ErrorKind::Config, "latents have 4 to 8 bits").found(bits));
        }
        if let Some(i) = scale.iter().position(|s| !s.is_finite() || *s <= 0.0) {
            return Err(Error::new(ErrorKind::Config, "a latent scale must be finite and above 0")
                .at(format!("dimension {i}"))
                .found(scale[i]));
        }
        Ok(Quantiser { bits, scale })
    }

    /// The quantiser of a manifest, or of the same scales at another number of bits.
    ///
    /// At fewer bits the range stays and the steps widen: `s' = s * 127 / m'` for a manifest of 8 bits.
    ///
    /// # Errors
    /// `Config` when the manifest has no quantiser yet.
    pub fn from_manifest(manifest: &Manifest, bits: Option<u8>) -> Result<Quantiser> {
        let q = manifest.quantiser.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Config, "the backbone has no latent quantiser")
                .at(&manifest.name)
                .cure("calibrate it: wheatear export ... --calibrate FOLDER-OF-SOUNDS")
        })?;
        let bits = bits.unwrap_or(q.bits);
        if !(4..=8).contains(&bits) {
            return Err(Error::new(ErrorKind::Config, "latents have 4 to 8 bits").found(bits));
        }
        let widen = limit(q.bits) as f32 / limit(bits) as f32;
        Quantiser::new(bits, q.scale.iter().map(|s| s * widen).collect())
    }

    /// Number of components D.
    pub fn dim(&self) -> usize {
        self.scale.len()
    }

    /// Bits of a component.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Value of one step, per dimension \[D\].
    pub fn scale(&self) -> &[f32] {
        &self.scale
    }

    /// Quantises `embedding` \[D\] into `latent` \[D\]; returns how many components were clipped.
    ///
    /// # Errors
    /// `Backbone` when a component is not finite, and `latent` is then unspecified.
    ///
    /// # Panics
    /// When a slice is not D long.
    pub fn quantise(&self, embedding: &[f32], latent: &mut [i8]) -> Result<u32> {
        assert_eq!(embedding.len(), self.dim(), "embedding length");
        assert_eq!(latent.len(), self.dim(), "latent length");
        let m = limit(self.bits) as f32;
        let mut clipped = 0;
        for (i, (x, q)) in embedding.iter().zip(latent.iter_mut()).enumerate() {
            if !x.is_finite() {
                return Err(not_finite(i, *x));
            }
            let v = (x / self.scale[i]).round();
            clipped += u32::from(v.abs() > m);
            *q = v.clamp(-m, m) as i8;
        }
        Ok(clipped)
    }

    /// Values of a latent: `x = s q`, both \[D\].
    pub fn dequantise(&self, latent: &[i8], embedding: &mut [f32]) {
        for ((x, q), s) in embedding.iter_mut().zip(latent).zip(&self.scale) {
            *x = f32::from(*q) * s;
        }
    }
}

/// Largest magnitude of a component of `bits`: `2^(bits-1) - 1`.
pub fn limit(bits: u8) -> i32 {
    (1 << (bits - 1)) - 1
}

fn not_finite(i: usize, x: f32) -> Error {
    Error::new(ErrorKind::Backbone, "the backbone returned a value that is not a number")
        .at(format!("embedding component {i}"))
        .found(x)
        .cure("check the model (f16 overflow?) and the sound; nothing was learned from this window")
}

/// Scales a raw embedding as the manifest says, in place.
///
/// # Errors
/// `Backbone` when a component is not finite.
pub fn scale_embedding(scale: EmbeddingScale, embedding: &mut [f32]) -> Result<()> {
    if let Some(i) = embedding.iter().position(|x| !x.is_finite()) {
        return Err(not_finite(i, embedding[i]));
    }
    if scale == EmbeddingScale::SqrtDim {
        let norm = embedding.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
        if norm > 0.0 {
            let factor = (embedding.len() as f64).sqrt() / norm;
            embedding.iter_mut().for_each(|x| *x = (f64::from(*x) * factor) as f32);
        }
    }
    Ok(())
}

/// Digest of everything that makes latents comparable: reference graph, windowing, normalisation, front end, embedding
/// tensor and quantiser. Another variant of the same backbone shares it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, serde::Deserialize)]
pub struct SpaceId(pub [u8; 32]);

impl SpaceId {
    /// The space of a manifest, with latents of `bits` (`None`: the manifest's own).
    ///
    /// # Errors
    /// `Config` when the manifest has no quantiser or no variant.
    pub fn of(manifest: &Manifest, bits: Option<u8>) -> Result<SpaceId> {
        let quantiser = Quantiser::from_manifest(manifest, bits)?;
        let text = canonical_space(manifest, &manifest.variant(None)?.sha256, &quantiser);
        Ok(SpaceId(Sha256::digest(text.as_bytes()).into()))
    }
}

/// The text that a space's digest is over: one `key value` a line, in this order, floats as the hexadecimal of their f32
/// bits (docs/format.md). A key that is added later must leave the text of spaces that do not use it as it is.
fn canonical_space(manifest: &Manifest, reference_sha256: &str, quantiser: &Quantiser) -> String {
    let bits = |x: f32| format!("{:08x}", x.to_bits());
    let audio = &manifest.audio;
    let mut lines = vec![
        "wheatear-space 1".to_owned(),
        format!(
            "modality {}",
            match manifest.modality {
                Modality::Audio => "audio",
                Modality::Image => "image",
                Modality::Text => "text",
            }
        ),
        format!("reference {reference_sha256}"),
        format!("window {} {} {}", audio.rate_hz, audio.window_samples, audio.hop_samples),
        match manifest.normalise {
            Normalise::None { gain } => format!("normalise none {}", bits(gain)),
            Normalise::Peak { floor } => format!("normalise peak {}", bits(floor)),
        },
    ];
    if let FrontEndSpec::LogMel(m) = &manifest.front_end {
        let window = match m.window {
            WindowShape::HannPeriodic => "hann-periodic",
            WindowShape::HannSymmetric => "hann-symmetric",
        };
        let mel_scale = match m.mel_scale {
            MelScale::Htk => "htk",
            MelScale::Slaney => "slaney",
        };
        let mel_norm = match m.mel_norm {
            MelNorm::None => "none",
            MelNorm::Sum => "sum",
            MelNorm::Slaney => "slaney",
        };
        lines.push(format!("stft {} {} {} {} {}", m.n_fft, m.window_length, m.hop_length, window, bits(m.power)));
        lines.push(format!("mel {} {} {} {} {}", m.mel_bands, mel_scale, mel_norm, bits(m.f_min_hz), bits(m.f_max_hz)));
        lines.push(match m.log {
            LogForm::None => "log none".to_owned(),
            LogForm::Ln { add } => format!("log ln {}", bits(add)),
            LogForm::Log10OnePlus { factor } => format!("log log10-one-plus {}", bits(factor)),
            LogForm::Decibel { floor, range_db } => format!("log decibel {} {}", bits(floor), bits(range_db)),
        });
        lines.push(format!("affine {} {}", bits(m.scale), bits(m.offset)));
    }
    let scale = match manifest.embedding.scale {
        EmbeddingScale::None => "none",
        EmbeddingScale::SqrtDim => "sqrt-dim",
    };
    lines.push(format!("embedding {} {scale}", manifest.embedding.dim));
    lines.push(format!("latent {} {}", quantiser.bits, quantiser.scale.iter().map(|s| bits(*s)).collect::<Vec<_>>().join(" ")));
    lines.join("\n") + "\n"
}

impl std::fmt::Display for SpaceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl std::fmt::Debug for SpaceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SpaceId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_to_nearest_clips_and_counts() {
        let q = Quantiser::new(8, vec![0.5; 5]).unwrap();
        let mut out = [0i8; 5];
        assert_eq!(q.quantise(&[0.2, 0.26, -63.6, 100.0, -1e30], &mut out).unwrap(), 2);
        assert_eq!(out, [0, 1, -127, 127, -127]);
    }

    #[test]
    fn error_is_at_most_half_a_step_inside_the_range() {
        for bits in 4..=8 {
            let q = Quantiser::new(bits, vec![0.37; 1]).unwrap();
            let range = limit(bits) as f32 * 0.37;
            for i in 0..1000 {
                let x = (i as f32 / 500.0 - 1.0) * range;
                let (mut l, mut y) = ([0i8], [0f32]);
                q.quantise(&[x], &mut l).unwrap();
                q.dequantise(&l, &mut y);
                assert!((x - y[0]).abs() <= 0.5 * 0.37 * 1.00001, "{bits} bits, {x}: {}", y[0]);
            }
        }
    }

    #[test]
    fn a_component_that_is_not_a_number_is_refused() {
        let q = Quantiser::new(8, vec![1.0; 2]).unwrap();
        let e = q.quantise(&[0.0, f32::NAN], &mut [0; 2]).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Backbone);
        assert!(e.to_string().contains("component 1"), "{e}");
        assert!(scale_embedding(EmbeddingScale::SqrtDim, &mut [f32::INFINITY, 0.0]).is_err());
    }

    #[test]
    fn a_zero_embedding_stays_zero() {
        let mut x = [0f32; 4];
        scale_embedding(EmbeddingScale::SqrtDim, &mut x).unwrap();
        assert_eq!(x, [0.0; 4]);
        let mut x = [3f32, 4.0, 0.0, 0.0];
        scale_embedding(EmbeddingScale::SqrtDim, &mut x).unwrap();
        assert!((x[0] - 1.2).abs() < 1e-6 && (x[1] - 1.6).abs() < 1e-6, "{x:?}");
    }
}
