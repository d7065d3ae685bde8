//! Short-time Fourier transform: one windowed frame to its magnitude or power spectrum.

use std::f64::consts::PI;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use crate::backbone::manifest::WindowShape;

/// Spectrum of frames of `n_fft` samples; plans and buffers are made once.
pub struct Stft {
    plan: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    frame: Vec<f32>,
    spectrum: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
}

impl Stft {
    /// For frames of `n_fft` samples under a window of `window_length` of them, centred:
    /// `(n_fft - window_length) / 2` zeros, rounded down, before it.
    pub fn new(n_fft: usize, window_length: usize, shape: WindowShape) -> Stft {
        let plan = RealFftPlanner::new().plan_fft_forward(n_fft);
        let mut window = vec![0.0; n_fft];
        let left = n_fft.saturating_sub(window_length) / 2;
        for (w, v) in window[left..].iter_mut().zip(hann(window_length, shape)) {
            *w = v as f32;
        }
        let (spectrum, scratch) = (plan.make_output_vec(), plan.make_scratch_vec());
        Stft { plan, window, frame: vec![0.0; n_fft], spectrum, scratch }
    }

    /// Number of FFT bins: `n_fft / 2 + 1`, rounded down.
    pub fn bins(&self) -> usize {
        self.spectrum.len()
    }

    /// Squared magnitude of the spectrum of one frame: `frame` \[n_fft\] to `power` \[bins\].
    ///
    /// # Panics
    /// When a slice has another length.
    pub fn power(&mut self, frame: &[f32], power: &mut [f32]) {
        assert_eq!(frame.len(), self.frame.len(), "frame length");
        assert_eq!(power.len(), self.spectrum.len(), "number of bins");
        for ((y, x), w) in self.frame.iter_mut().zip(frame).zip(&self.window) {
            *y = x * w;
        }
        // The only errors are of length, and the lengths are the plan's own.
        let transformed = self.plan.process_with_scratch(&mut self.frame, &mut self.spectrum, &mut self.scratch);
        debug_assert!(transformed.is_ok());
        for (p, c) in power.iter_mut().zip(&self.spectrum) {
            *p = c.re * c.re + c.im * c.im;
        }
    }
}

/// Hann window `0.5 - 0.5 cos(2 pi i / period)` of `length` samples.
pub fn hann(length: usize, shape: WindowShape) -> impl Iterator<Item = f64> {
    let period = match shape {
        WindowShape::HannPeriodic => length,
        WindowShape::HannSymmetric => length.saturating_sub(1),
    };
    (0..length).map(move |i| 0.5 - 0.5 * (2.0 * PI * i as f64 / period as f64).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symmetric_window_mirrors_and_a_periodic_one_does_not_close() {
        let s: Vec<f64> = hann(8, WindowShape::HannSymmetric).collect();
        assert!((0..8).all(|i| (s[i] - s[7 - i]).abs() < 1e-12), "{s:?}");
        let p: Vec<f64> = hann(8, WindowShape::HannPeriodic).collect();
        assert!((p[4] - 1.0).abs() < 1e-12 && p[7] > 0.1, "{p:?}");
    }

    #[test]
    fn a_sine_on_a_bin_has_the_power_of_its_window_there() {
        let n = 256;
        let x: Vec<f32> = (0..n).map(|i| (2.0 * PI * 16.0 * i as f64 / n as f64).cos() as f32).collect();
        let mut stft = Stft::new(n, n, WindowShape::HannPeriodic);
        let mut power = vec![0.0; stft.bins()];
        stft.power(&x, &mut power);
        // The periodic Hann window sums to n/2, and half of a real cosine lies at the positive frequency.
        let want = (n as f32 / 4.0).powi(2);
        assert!((power[16] / want - 1.0).abs() < 1e-5, "{} for {want}", power[16]);
        assert!(power[20] < want * 1e-9, "{}", power[20]);
    }

    #[test]
    fn a_short_window_sees_only_the_middle_of_the_frame() {
        let mut x = vec![1.0f32; 64];
        x[24..40].fill(0.0);
        let mut stft = Stft::new(64, 16, WindowShape::HannPeriodic);
        let mut power = vec![1.0; stft.bins()];
        stft.power(&x, &mut power);
        assert!(power.iter().all(|p| *p == 0.0), "{power:?}");
    }
}
