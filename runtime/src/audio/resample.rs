//! Streaming resampling of mono sound from one fixed rate to another, anti-aliased and without delay.
//!
//! Output sample k lies at time `k / out_rate` exactly, and n input samples give `round(n out_rate / in_rate)` output
//! samples (half up): the filter's delay is trimmed at the start and flushed at the end. The filter is a windowed sinc
//! (Blackman-Harris squared) applied by FFT in blocks that are aligned to the start of the stream, so the output is the
//! same bits whatever pieces the input comes in. After construction nothing allocates.
//!
//! Limits: the two rates are exact integers and do not drift; the filter looks ahead by up to one and a half blocks of
//! about 1024 samples of the slower rate, which is what a live stream waits for.

use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};

use super::check_rate;
use crate::{Error, ErrorKind, Result};

/// Smallest block on the slower side, in samples: longer blocks make a steeper filter and a longer delay.
const BLOCK_SAMPLES: usize = 1024;

/// A streaming resampler of one channel; see the module for what it guarantees.
pub struct Resampler {
    in_rate_hz: u32,
    out_rate_hz: u32,
    converter: Option<Converter>,
}

struct Converter {
    fft: Fft<f32>,
    input: Vec<f32>,
    filled: usize,
    output: Vec<f32>,
    /// Output samples of the filter's delay.
    delay: usize,
    still_to_trim: usize,
    consumed: u64,
    produced: u64,
}

impl Resampler {
    /// A resampler from `in_rate_hz` to `out_rate_hz`; equal rates pass samples through untouched.
    ///
    /// # Errors
    /// `Input` when a rate is outside [`super::RATES_HZ`].
    pub fn new(in_rate_hz: u32, out_rate_hz: u32) -> Result<Resampler> {
        check_rate(in_rate_hz)?;
        check_rate(out_rate_hz)?;
        let converter = if in_rate_hz == out_rate_hz { None } else { Some(Converter::new(in_rate_hz, out_rate_hz)?) };
        Ok(Resampler { in_rate_hz, out_rate_hz, converter })
    }

    /// Rate of the samples given to [`Resampler::push`], in hertz.
    pub fn in_rate_hz(&self) -> u32 {
        self.in_rate_hz
    }

    /// Rate of the samples that come out, in hertz.
    pub fn out_rate_hz(&self) -> u32 {
        self.out_rate_hz
    }

    /// Takes the next samples, of any number, and hands what is ready to `sink`, in order.
    ///
    /// # Errors
    /// Those of `sink`, and then the stream has to be [`reset`](Resampler::reset).
    pub fn push(&mut self, samples: &[f32], sink: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()> {
        match &mut self.converter {
            None => sink(samples),
            Some(c) => c.push(samples, sink),
        }
    }

    /// Ends the stream: flushes the filter into `sink` and gets ready for another stream.
    ///
    /// # Errors
    /// Those of `sink`; the resampler is reset all the same.
    pub fn finish(&mut self, sink: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()> {
        let Some(c) = &mut self.converter else { return Ok(()) };
        let result = c.flush(output_len(c.consumed, self.in_rate_hz, self.out_rate_hz), sink);
        c.reset();
        result
    }

    /// Forgets what was pushed, as if nothing ever was.
    pub fn reset(&mut self) {
        if let Some(c) = &mut self.converter {
            c.reset();
        }
    }
}

/// Samples that `n` input samples become: `round(n out / in)`, half up.
pub fn output_len(n: u64, in_rate_hz: u32, out_rate_hz: u32) -> u64 {
    let (n, i, o) = (u128::from(n), u128::from(in_rate_hz), u128::from(out_rate_hz));
    ((2 * n * o + i) / (2 * i)) as u64
}

impl Converter {
    fn new(in_rate_hz: u32, out_rate_hz: u32) -> Result<Converter> {
        let (i, o) = (in_rate_hz as usize, out_rate_hz as usize);
        let step = i / gcd(i, o);
        // Both blocks are even, so that the filter's delay, half a block, is a whole number of output samples.
        let wanted = BLOCK_SAMPLES.max(BLOCK_SAMPLES * i / o);
        let block = wanted.div_ceil(2 * step) * 2 * step;
        let fft = Fft::new_custom(i, o, block, 1, 1, WindowFunction::BlackmanHarris2, FixedSync::Both).map_err(failed)?;
        let (input, output) = (vec![0.0; fft.input_frames_next()], vec![0.0; fft.output_frames_next()]);
        let delay = fft.output_delay();
        Ok(Converter { fft, input, filled: 0, output, delay, still_to_trim: delay, consumed: 0, produced: 0 })
    }

    fn push(&mut self, mut samples: &[f32], sink: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()> {
        while !samples.is_empty() {
            let n = samples.len().min(self.input.len() - self.filled);
            let (now, later) = samples.split_at(n);
            self.input[self.filled..self.filled + n].copy_from_slice(now);
            self.filled += n;
            self.consumed += n as u64;
            samples = later;
            if self.filled == self.input.len() {
                self.convert(u64::MAX, sink)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self, total: u64, sink: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()> {
        while self.produced < total {
            self.input[self.filled..].fill(0.0);
            self.convert(total, sink)?;
        }
        Ok(())
    }

    /// Converts the block in `input`, hands out what lies after the delay and before output sample `total`.
    fn convert(&mut self, total: u64, sink: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()> {
        let (n_in, n_out) = (self.input.len(), self.output.len());
        let input = SequentialSlice::new(&self.input, 1, n_in).map_err(failed)?;
        let mut output = SequentialSlice::new_mut(&mut self.output, 1, n_out).map_err(failed)?;
        self.fft.process_into_buffer(&input, &mut output, None).map_err(failed)?;
        self.filled = 0;
        let trim = self.still_to_trim.min(n_out);
        self.still_to_trim -= trim;
        let n = ((n_out - trim) as u64).min(total - self.produced);
        self.produced += n;
        if n == 0 { Ok(()) } else { sink(&self.output[trim..trim + n as usize]) }
    }

    fn reset(&mut self) {
        self.fft.reset();
        (self.filled, self.still_to_trim, self.consumed, self.produced) = (0, self.delay, 0, 0);
    }
}

fn failed(e: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Input, "the sound cannot be resampled").found(e.to_string()).because(e)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use proptest::prelude::*;

    use super::*;

    fn resample(in_rate_hz: u32, out_rate_hz: u32, samples: &[f32], pieces: &[usize]) -> Vec<f32> {
        let mut r = Resampler::new(in_rate_hz, out_rate_hz).unwrap();
        let mut out = Vec::new();
        let mut collect = |x: &[f32]| {
            out.extend_from_slice(x);
            Ok(())
        };
        let mut rest = samples;
        for n in pieces.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at((*n).clamp(1, rest.len()));
            r.push(now, &mut collect).unwrap();
            rest = later;
        }
        r.finish(&mut collect).unwrap();
        out
    }

    fn sine(rate_hz: u32, hz: f64, n: usize) -> Vec<f32> {
        (0..n).map(|i| (2.0 * PI * hz * i as f64 / f64::from(rate_hz)).sin() as f32).collect()
    }

    #[test]
    fn output_sample_k_is_the_sound_at_time_k_over_the_rate() {
        for (i, o) in [(48000, 44100), (44100, 48000), (44100, 16000), (16000, 44100), (96000, 44100), (8000, 44100), (22050, 44100)] {
            let hz = 440.0;
            let out = resample(i, o, &sine(i, hz, i as usize), &[4096]);
            assert_eq!(out.len(), o as usize);
            let want = sine(o, hz, o as usize);
            let edge = o as usize / 8;
            let worst = (edge..want.len() - edge).map(|k| (out[k] - want[k]).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-4, "{i} -> {o}: {worst}");
        }
    }

    #[test]
    fn what_lies_above_the_new_nyquist_frequency_is_removed() {
        let out = resample(48000, 16000, &sine(48000, 10_000.0, 48000), &[1000]);
        let worst = out[2000..14000].iter().fold(0f32, |m, x| m.max(x.abs()));
        assert!(worst < 1e-4, "{worst}");
    }

    #[test]
    fn the_length_is_the_rounded_ratio() {
        for n in [0, 1, 2, 100, 1023, 5000, 44101] {
            for (i, o) in [(48000, 44100), (44100, 16000), (11025, 44100)] {
                let want = (n as f64 * f64::from(o) / f64::from(i)).round() as usize;
                assert_eq!(resample(i, o, &vec![0.5; n], &[777]).len(), want, "{n} at {i} -> {o}");
            }
        }
    }

    #[test]
    fn equal_rates_change_nothing() {
        let x = sine(44100, 999.0, 5000);
        assert_eq!(resample(44100, 44100, &x, &[13, 4000]), x);
    }

    #[test]
    fn a_second_stream_is_not_coloured_by_the_first() {
        let x = sine(48000, 700.0, 9000);
        let mut r = Resampler::new(48000, 44100).unwrap();
        let mut run = |x: &[f32]| {
            let mut out = Vec::new();
            let mut collect = |y: &[f32]| {
                out.extend_from_slice(y);
                Ok(())
            };
            r.push(x, &mut collect).unwrap();
            r.finish(&mut collect).unwrap();
            out
        };
        let first = run(&x);
        run(&[1.0; 5555]);
        assert_eq!(run(&x), first);
    }

    #[test]
    fn rates_no_sound_has_are_refused() {
        for (i, o) in [(0, 44100), (999, 44100), (44100, 0), (u32::MAX, 44100)] {
            assert_eq!(Resampler::new(i, o).map(|_| ()).unwrap_err().kind(), ErrorKind::Input, "{i} -> {o}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn the_pieces_do_not_change_a_bit(pieces in prop::collection::vec(1usize..5000, 1..20), n in 0usize..20_000) {
            let x = sine(48000, 1234.5, n);
            let whole = resample(48000, 44100, &x, &[n.max(1)]);
            prop_assert_eq!(resample(48000, 44100, &x, &pieces), whole);
        }
    }
}
