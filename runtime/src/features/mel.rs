//! Mel filter bank: overlapping triangles over the FFT bins, kept sparse.
//!
//! The `bands + 2` edges are equally spaced on the mel scale from `f_min_hz` to `f_max_hz`; each triangle rises from its
//! left edge to its centre and falls to its right edge linearly in hertz, sampled at the bins' frequencies
//! `k rate / n_fft` (as librosa, torchaudio and Kaldi's successors do). Built in f64, kept as f32.

use crate::backbone::manifest::{LogMelSpec, MelNorm, MelScale};

/// A bank of mel triangles.
pub struct MelBank {
    bands: Vec<Band>,
    weights: Vec<f32>,
}

/// The bins a triangle covers, and where its weights start.
struct Band {
    first_bin: usize,
    first_weight: usize,
    len: usize,
}

impl MelBank {
    /// The bank of `spec` for sound at `rate_hz`.
    pub fn new(spec: &LogMelSpec, rate_hz: u32) -> MelBank {
        let n_fft = spec.n_fft as usize;
        let hertz_per_bin = f64::from(rate_hz) / n_fft as f64;
        let bins = n_fft / 2 + 1;
        let edges = edges_hz(spec);
        let mut bank = MelBank { bands: Vec::with_capacity(spec.mel_bands as usize), weights: Vec::new() };
        for edge in edges.windows(3) {
            let (left, centre, right) = (edge[0], edge[1], edge[2]);
            let first_bin = ((left / hertz_per_bin).floor() as usize).min(bins);
            let end = ((right / hertz_per_bin).ceil() as usize + 1).min(bins).max(first_bin);
            let rise = |f: f64| ((f - left) / (centre - left)).min((right - f) / (right - centre)).max(0.0);
            let triangle: Vec<f64> = (first_bin..end).map(|k| rise(k as f64 * hertz_per_bin)).collect();
            let sum: f64 = triangle.iter().sum();
            let norm = match spec.mel_norm {
                MelNorm::None => 1.0,
                // A band narrower than the bins' spacing may cover none: it stays 0.
                MelNorm::Sum => {
                    if sum > 0.0 {
                        1.0 / sum
                    } else {
                        0.0
                    }
                }
                MelNorm::Slaney => 2.0 / (right - left),
            };
            bank.bands.push(Band { first_bin, first_weight: bank.weights.len(), len: triangle.len() });
            bank.weights.extend(triangle.iter().map(|w| (w * norm) as f32));
        }
        bank
    }

    /// Weighted sums of a spectrum: `spectrum` \[bins\] to `mel` \[bands\].
    ///
    /// # Panics
    /// When a slice has another length.
    pub fn apply(&self, spectrum: &[f32], mel: &mut [f32]) {
        assert_eq!(mel.len(), self.bands.len(), "number of mel bands");
        for (m, band) in mel.iter_mut().zip(&self.bands) {
            let weights = &self.weights[band.first_weight..band.first_weight + band.len];
            *m = dot(weights, &spectrum[band.first_bin..band.first_bin + band.len]);
        }
    }
}

/// Sum of products in eight interleaved sums: a fixed order, so the same bits everywhere, that a compiler can vectorise.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a8.remainder().iter().zip(b8.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a8.zip(b8) {
        for i in 0..8 {
            lanes[i] += x[i] * y[i];
        }
    }
    lanes.iter().sum::<f32>() + rest
}

/// Edges of the triangles in hertz, `bands + 2` of them.
fn edges_hz(spec: &LogMelSpec) -> Vec<f64> {
    let (low, high) = (hz_to_mel(spec.f_min_hz.into(), spec.mel_scale), hz_to_mel(spec.f_max_hz.into(), spec.mel_scale));
    let steps = f64::from(spec.mel_bands + 1);
    (0..spec.mel_bands + 2).map(|i| mel_to_hz(low + (high - low) * f64::from(i) / steps, spec.mel_scale)).collect()
}

/// Slaney's scale: 3 mel each 200 Hz below 1 kHz, then 27 mel for each factor of 6.4.
const SLANEY_BREAK_HZ: f64 = 1000.0;
const SLANEY_HZ_PER_MEL: f64 = 200.0 / 3.0;
const SLANEY_BREAK_MEL: f64 = SLANEY_BREAK_HZ / SLANEY_HZ_PER_MEL;

fn slaney_log_step() -> f64 {
    6.4f64.ln() / 27.0
}

/// Mel of a frequency in hertz.
pub fn hz_to_mel(hz: f64, scale: MelScale) -> f64 {
    match scale {
        MelScale::Htk => 2595.0 * (1.0 + hz / 700.0).log10(),
        MelScale::Slaney if hz < SLANEY_BREAK_HZ => hz / SLANEY_HZ_PER_MEL,
        MelScale::Slaney => SLANEY_BREAK_MEL + (hz / SLANEY_BREAK_HZ).ln() / slaney_log_step(),
    }
}

/// Frequency in hertz of a mel.
pub fn mel_to_hz(mel: f64, scale: MelScale) -> f64 {
    match scale {
        MelScale::Htk => 700.0 * (10f64.powf(mel / 2595.0) - 1.0),
        MelScale::Slaney if mel < SLANEY_BREAK_MEL => mel * SLANEY_HZ_PER_MEL,
        MelScale::Slaney => SLANEY_BREAK_HZ * ((mel - SLANEY_BREAK_MEL) * slaney_log_step()).exp(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scales_have_their_known_points_and_invert() {
        // 1000 Hz is 999.99 mel on the HTK scale and 15 on Slaney's; 6400 Hz is 42 on Slaney's.
        assert!((hz_to_mel(1000.0, MelScale::Htk) - 999.9855).abs() < 1e-3);
        assert!((hz_to_mel(1000.0, MelScale::Slaney) - 15.0).abs() < 1e-9);
        assert!((hz_to_mel(6400.0, MelScale::Slaney) - 42.0).abs() < 1e-9);
        for scale in [MelScale::Htk, MelScale::Slaney] {
            for hz in [0.0, 1.0, 440.0, 999.9, 1000.0, 1000.1, 22050.0] {
                assert!((mel_to_hz(hz_to_mel(hz, scale), scale) - hz).abs() < 1e-8, "{scale:?} {hz}");
            }
        }
    }

    #[test]
    fn dot_product_equals_the_plain_sum_at_every_length() {
        for n in 0..67 {
            let a: Vec<f32> = (0..n).map(|i| i as f32 - 20.0).collect();
            let b: Vec<f32> = (0..n).map(|i| (i % 7) as f32).collect();
            let want: f32 = a.iter().zip(&b).map(|(x, y)| x * y).sum();
            assert_eq!(dot(&a, &b), want, "{n}");
        }
    }
}
