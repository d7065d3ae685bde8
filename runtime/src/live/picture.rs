//! The picture of live sound: a column of bands for every 50 ms, and how loud it is, for whoever watches. Nothing is kept and nothing
//! is learned from it; after it is made it allocates nothing.
//!
//! A column shows the loudest of the half-overlapped spectra that ended in it, so that a click is seen. Bands are equally wide from 0 to
//! half the rate, and show the loudest bin in them.

use crate::backbone::manifest::WindowShape;
use crate::features::stft::Stft;

/// Bands of a column.
pub const BANDS: usize = 64;
/// Length of a column, in ms.
pub const COLUMN_MS: u32 = 50;
/// What is quieter is 0, in dB of a full-scale sine.
pub const FLOOR_DB: f32 = -100.0;
/// Length of a spectrum in s, as far as a power of two of samples allows.
const SPECTRUM_S: f64 = 0.032;

/// 50 ms of sound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Column {
    /// Largest sample, without its sign.
    pub peak: f32,
    /// Root of the mean square.
    pub rms: f32,
    /// Each band from the lowest: 0 at [`FLOOR_DB`] and below, 255 at a full-scale sine.
    pub bands: [u8; BANDS],
}

/// Draws the sound of one microphone.
pub struct Picture {
    rate_hz: u32,
    stft: Stft,
    frame: Vec<f32>,
    /// Samples of the frame that are there.
    held: usize,
    power: Vec<f32>,
    /// Loudest power of each bin in this column.
    most: Vec<f32>,
    /// Power of a full-scale sine.
    full: f32,
    column_len: usize,
    /// Of the column so far: samples, largest, sum of squares.
    seen: usize,
    peak: f32,
    squares: f64,
}

impl Picture {
    /// Of sound at `rate_hz`.
    pub fn new(rate_hz: u32) -> Picture {
        let n_fft = ((f64::from(rate_hz) * SPECTRUM_S) as usize).next_power_of_two().clamp(256, 8192);
        let stft = Stft::new(n_fft, n_fft, WindowShape::HannPeriodic);
        let bins = stft.bins();
        Picture {
            rate_hz,
            stft,
            frame: vec![0.0; n_fft],
            held: 0,
            power: vec![0.0; bins],
            most: vec![0.0; bins],
            // The window sums to half its length, and half of a sine lies at the positive frequency.
            full: (n_fft as f32 / 4.0).powi(2),
            column_len: (rate_hz as usize * COLUMN_MS as usize / 1000).max(1),
            seen: 0,
            peak: 0.0,
            squares: 0.0,
        }
    }

    /// Begins anew, at `rate_hz`. At the rate that it has it allocates nothing.
    #[must_use]
    pub fn at_rate(mut self, rate_hz: u32) -> Picture {
        if rate_hz != self.rate_hz {
            return Picture::new(rate_hz);
        }
        self.held = 0;
        self.begin_column();
        self
    }

    /// Takes samples, and gives the columns that they complete.
    pub fn push(&mut self, mut samples: &[f32], sink: &mut impl FnMut(Column)) {
        while !samples.is_empty() {
            let n = samples.len().min(self.frame.len() - self.held).min(self.column_len - self.seen);
            let (now, later) = samples.split_at(n);
            samples = later;
            self.frame[self.held..self.held + n].copy_from_slice(now);
            self.held += n;
            self.seen += n;
            self.peak = now.iter().fold(self.peak, |peak, x| peak.max(x.abs()));
            self.squares += now.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>();
            if self.held == self.frame.len() {
                self.stft.power(&self.frame, &mut self.power);
                self.most.iter_mut().zip(&self.power).for_each(|(most, p)| *most = most.max(*p));
                let half = self.frame.len() / 2;
                self.frame.copy_within(half.., 0);
                self.held = half;
            }
            if self.seen == self.column_len {
                sink(self.column());
            }
        }
    }

    fn column(&mut self) -> Column {
        let mut bands = [0; BANDS];
        // Without the constant part, which is no sound.
        let bins = self.most.len() - 1;
        for (n, band) in bands.iter_mut().enumerate() {
            let (first, last) = (n * bins / BANDS + 1, (n + 1) * bins / BANDS + 1);
            let power = self.most[first..last].iter().fold(0f32, |most, p| most.max(*p));
            let db = 10.0 * (power / self.full).log10();
            // Of nothing it is minus infinity, which becomes 0.
            *band = ((db / -FLOOR_DB + 1.0) * 255.0).round() as u8;
        }
        let column = Column { peak: self.peak.min(1.0), rms: ((self.squares / self.seen as f64).sqrt() as f32).min(1.0), bands };
        self.begin_column();
        column
    }

    fn begin_column(&mut self) {
        self.most.fill(0.0);
        (self.seen, self.peak, self.squares) = (0, 0.0, 0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(rate_hz: u32, samples: &[f32], piece: usize) -> Vec<Column> {
        let (mut picture, mut columns) = (Picture::new(rate_hz), Vec::new());
        samples.chunks(piece).for_each(|s| picture.push(s, &mut |c| columns.push(c)));
        columns
    }

    fn sine(rate_hz: u32, hz: f32, amplitude: f32) -> Vec<f32> {
        (0..rate_hz / 2).map(|i| amplitude * (std::f32::consts::TAU * hz * i as f32 / rate_hz as f32).sin()).collect()
    }

    #[test]
    fn a_sine_is_in_its_band_at_its_loudness_at_every_rate() {
        for rate_hz in [8000, 16_000, 44_100, 48_000, 384_000] {
            let hz = rate_hz as f32 * 0.2;
            let all = columns(rate_hz, &sine(rate_hz, hz, 0.1), 480);
            assert_eq!(all.len(), 10, "{rate_hz} Hz");
            let c = all[5];
            let loudest = (0..BANDS).max_by_key(|n| c.bands[*n]).unwrap();
            assert!((24..=26).contains(&loudest), "{rate_hz} Hz: band {loudest}");
            // 0.1 is -20 dB; between two bins the window loses at most 1.4 dB.
            let db = f32::from(c.bands[loudest]) / 255.0 * 100.0 - 100.0;
            assert!((-21.8..=-19.6).contains(&db), "{rate_hz} Hz: {db} dB");
            // Samples may miss the top of a wave.
            assert!((0.094..=0.1001).contains(&c.peak) && (c.rms - 0.0707).abs() < 0.001, "{rate_hz} Hz: {c:?}");
            assert!(c.bands[60] < c.bands[loudest] - 100, "{rate_hz} Hz: {:?}", c.bands);
        }
    }

    #[test]
    fn the_picture_is_the_same_in_pieces_of_any_size() {
        let samples = sine(16_000, 1234.0, 0.5);
        let whole = columns(16_000, &samples, samples.len());
        for piece in [1, 7, 512, 799, 801] {
            let pieces = columns(16_000, &samples, piece);
            assert!(whole.iter().zip(&pieces).all(|(a, b)| a.bands == b.bands && a.peak == b.peak), "{piece}");
            assert_eq!(whole.len(), pieces.len());
        }
    }

    #[test]
    fn silence_is_black_and_a_click_is_seen() {
        let mut samples = vec![0.0; 16_000];
        samples[8000] = 1.0;
        let all = columns(16_000, &samples, 100);
        assert_eq!(all[0], Column { peak: 0.0, rms: 0.0, bands: [0; BANDS] });
        assert!(all[9..=11].iter().any(|c| c.bands.iter().all(|b| *b > 100)), "{:?}", &all[9..=11]);
        assert_eq!((all[10].peak, all[19].peak), (1.0, 0.0));
    }
}
