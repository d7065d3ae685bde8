//! Log-mel spectrogram of one window: frames without padding, spectrum, mel bank, logarithm, scale.

use super::mel::MelBank;
use super::stft::Stft;
use crate::backbone::manifest::{FrontEndSpec, LogForm, LogMelSpec, Manifest};
use crate::{Error, ErrorKind, Result};

/// Computes log-mel spectrograms as a [`LogMelSpec`] defines them.
pub struct LogMel {
    spec: LogMelSpec,
    stft: Stft,
    bank: MelBank,
    spectrum: Vec<f32>,
}

impl LogMel {
    /// For sound at `rate_hz`. The spec must have passed the manifest's validation.
    pub fn new(spec: &LogMelSpec, rate_hz: u32) -> LogMel {
        let stft = Stft::new(spec.n_fft as usize, spec.window_length as usize, spec.window);
        let spectrum = vec![0.0; stft.bins()];
        LogMel { spec: spec.clone(), stft, bank: MelBank::new(spec, rate_hz), spectrum }
    }

    /// The front end that a manifest defines.
    ///
    /// # Errors
    /// `Config` when it defines none.
    pub fn from_manifest(manifest: &Manifest) -> Result<LogMel> {
        match &manifest.front_end {
            FrontEndSpec::LogMel(spec) => Ok(LogMel::new(spec, manifest.audio.rate_hz)),
            FrontEndSpec::None => Err(Error::new(ErrorKind::Config, "a graph that takes features needs a front end")
                .at("front_end.kind")
                .expected("log-mel")
                .found("none")
                .cure("describe the front end in the manifest, or choose a variant that takes samples")),
        }
    }

    /// Number of features of `samples` samples: frames times bands.
    pub fn features_len(&self, samples: usize) -> usize {
        self.spec.frames(samples) * self.spec.mel_bands as usize
    }

    /// Computes the features of a window; allocates nothing.
    ///
    /// # Shapes
    /// `samples` \[n\]; `features` \[frames, mel_bands\] with `frames = 1 + (n - n_fft) / hop_length`.
    ///
    /// # Panics
    /// When `features` has another length than [`LogMel::features_len`].
    pub fn compute(&mut self, samples: &[f32], features: &mut [f32]) {
        assert_eq!(features.len(), self.features_len(samples.len()), "number of features");
        let (n_fft, hop) = (self.spec.n_fft as usize, self.spec.hop_length as usize);
        for (t, mel) in features.chunks_exact_mut(self.spec.mel_bands as usize).enumerate() {
            self.stft.power(&samples[t * hop..t * hop + n_fft], &mut self.spectrum);
            if self.spec.power == 1.0 {
                self.spectrum.iter_mut().for_each(|p| *p = p.sqrt());
            }
            self.bank.apply(&self.spectrum, mel);
        }
        logarithm(self.spec.log, features);
        let (scale, offset) = (self.spec.scale, self.spec.offset);
        if (scale, offset) != (1.0, 0.0) {
            features.iter_mut().for_each(|x| *x = *x * scale + offset);
        }
    }
}

/// Applies the logarithm to all mel values of a window, in place.
fn logarithm(form: LogForm, mel: &mut [f32]) {
    match form {
        LogForm::None => {}
        LogForm::Ln { add } => mel.iter_mut().for_each(|m| *m = (*m + add).ln()),
        // ln(1 + x) keeps its precision where the mel value is tiny.
        LogForm::Log10OnePlus { factor } => mel.iter_mut().for_each(|m| *m = (*m * factor).ln_1p() * std::f32::consts::LOG10_E),
        LogForm::Decibel { floor, range_db } => {
            let mut highest = f32::NEG_INFINITY;
            for m in mel.iter_mut() {
                *m = 10.0 * m.max(floor).log10();
                highest = highest.max(*m);
            }
            if range_db > 0.0 {
                mel.iter_mut().for_each(|m| *m = m.max(highest - range_db));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decibels_are_clipped_below_the_loudest_value_of_the_window() {
        let mut mel = [1.0, 0.1, 1e-9, 0.0];
        logarithm(LogForm::Decibel { floor: 1e-10, range_db: 80.0 }, &mut mel);
        assert!((mel[0]).abs() < 1e-5 && (mel[1] + 10.0).abs() < 1e-5, "{mel:?}");
        assert_eq!(&mel[2..], &[-80.0, -80.0]);
        let mut mel = [1.0, 0.0];
        logarithm(LogForm::Decibel { floor: 1e-10, range_db: 0.0 }, &mut mel);
        assert!((mel[1] + 100.0).abs() < 1e-4, "{mel:?}");
    }

    #[test]
    fn silence_gives_finite_features_in_every_form() {
        for form in [LogForm::Ln { add: 1e-6 }, LogForm::Log10OnePlus { factor: 1e4 }, LogForm::Decibel { floor: 1e-10, range_db: 80.0 }] {
            let mut mel = [0.0; 3];
            logarithm(form, &mut mel);
            assert!(mel.iter().all(|m| m.is_finite()), "{form:?}: {mel:?}");
        }
    }
}
