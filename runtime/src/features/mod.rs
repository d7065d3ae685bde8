//! The front end between a window's samples and the graph: normalisation, then nothing or a log-mel spectrogram, exactly
//! as the manifest says.

pub mod log_mel;
pub mod mel;
pub mod stft;

use crate::Result;
use crate::backbone::manifest::{GraphInput, Manifest, Normalise};
use log_mel::LogMel;

/// Turns the samples of one window into what a graph takes.
pub struct FrontEnd {
    normalise: Normalise,
    log_mel: Option<LogMel>,
    normalised: Vec<f32>,
    input_len: usize,
}

impl FrontEnd {
    /// The front end for a graph of `manifest` that takes `input`.
    ///
    /// # Errors
    /// `Config` when the manifest's front end has none, but features are asked for.
    pub fn new(manifest: &Manifest, input: GraphInput) -> Result<FrontEnd> {
        let window = manifest.audio.window_samples as usize;
        let log_mel = match input {
            GraphInput::Waveform => None,
            GraphInput::Features => Some(LogMel::from_manifest(manifest)?),
        };
        let input_len = log_mel.as_ref().map_or(window, |m| m.features_len(window));
        Ok(FrontEnd { normalise: manifest.normalise.clone(), log_mel, normalised: vec![0.0; window], input_len })
    }

    /// Number of values the graph takes: samples, or frames times bands.
    pub fn input_len(&self) -> usize {
        self.input_len
    }

    /// Computes the graph's input from the samples of a window; allocates nothing.
    ///
    /// # Shapes
    /// `samples` \[window\]; `input` \[[`FrontEnd::input_len`]\], frame after frame when it holds features.
    ///
    /// # Panics
    /// When a slice has another length.
    pub fn compute(&mut self, samples: &[f32], input: &mut [f32]) {
        let factor = factor(&self.normalise, samples);
        match &mut self.log_mel {
            None => {
                assert_eq!(input.len(), samples.len(), "input length");
                scaled(samples, factor, input);
            }
            Some(log_mel) => {
                scaled(samples, factor, &mut self.normalised);
                log_mel.compute(&self.normalised, input);
            }
        }
    }
}

/// What a window's samples are multiplied with: `gain`, or `1 / max(peak, floor)`.
pub fn factor(normalise: &Normalise, samples: &[f32]) -> f32 {
    match normalise {
        Normalise::None { gain } => *gain,
        Normalise::Peak { floor } => 1.0 / peak(samples).max(*floor),
    }
}

/// Largest absolute sample, 0 for none.
pub fn peak(samples: &[f32]) -> f32 {
    // Eight running maxima: one alone would wait for itself at every sample.
    let mut lanes = [0f32; 8];
    let chunks = samples.chunks_exact(8);
    let rest = chunks.remainder().iter().fold(0f32, |m, x| m.max(x.abs()));
    for chunk in chunks {
        for (m, x) in lanes.iter_mut().zip(chunk) {
            *m = m.max(x.abs());
        }
    }
    lanes.iter().fold(rest, |m, x| m.max(*x))
}

fn scaled(samples: &[f32], factor: f32, out: &mut [f32]) {
    assert_eq!(samples.len(), out.len(), "window length");
    for (y, x) in out.iter_mut().zip(samples) {
        *y = x * factor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loud_window_is_divided_by_its_peak() {
        let f = factor(&Normalise::Peak { floor: 0.001 }, &[0.1, -0.5, 0.25]);
        assert_eq!(f, 2.0);
    }

    #[test]
    fn silence_is_not_amplified_into_a_sound() {
        let hiss = [1e-5f32, -1e-5];
        let f = factor(&Normalise::Peak { floor: 0.001 }, &hiss);
        assert!((hiss[0] * f).abs() < 0.011, "{f}");
        assert_eq!(factor(&Normalise::Peak { floor: 0.5 }, &[0.0; 9]), 2.0);
    }

    #[test]
    fn a_gain_does_not_look_at_the_samples() {
        assert_eq!(factor(&Normalise::None { gain: 32768.0 }, &[9.0]), 32768.0);
    }

    #[test]
    fn the_peak_is_found_at_every_place() {
        for n in 1..40 {
            for i in 0..n {
                let mut x = vec![0.25f32; n];
                x[i] = -0.75;
                assert_eq!(peak(&x), 0.75, "{i} of {n}");
            }
        }
    }
}
