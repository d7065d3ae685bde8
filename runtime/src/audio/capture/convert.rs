//! Samples as a device gives them (interleaved, in one of eight formats) become mono samples from -1 to 1: one channel, or
//! the mean of all.
//!
//! Limits: integers are divided by their full scale, so that the largest positive one stays one step below 1; floats beyond
//! -1 and 1 are clipped there, and those that are no numbers become 0 and are counted. 64-bit integers, unsigned ones of 24
//! and 32 bits, and one-bit (DSD) samples are not taken.

use cpal::{Data, I24, SampleFormat};

/// Which channel of a device is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Channel {
    /// The mean of all channels.
    #[default]
    Mean,
    /// This one; the first is 0.
    One(u16),
}

impl Channel {
    /// Whether a device with so many `channels` has it.
    pub fn is_of(self, channels: u16) -> bool {
        match self {
            Channel::Mean => channels > 0,
            Channel::One(n) => n < channels,
        }
    }
}

/// The samples of one callback, interleaved: all channels of the first frame, then those of the next.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)] // The variants are the formats' own names.
pub enum Interleaved<'a> {
    I8(&'a [i8]),
    I16(&'a [i16]),
    I24(&'a [I24]),
    I32(&'a [i32]),
    U8(&'a [u8]),
    U16(&'a [u16]),
    F32(&'a [f32]),
    F64(&'a [f64]),
}

/// Whether samples of `format` can be converted.
pub fn is_convertible(format: SampleFormat) -> bool {
    use SampleFormat as F;
    matches!(format, F::I8 | F::I16 | F::I24 | F::I32 | F::U8 | F::U16 | F::F32 | F::F64)
}

impl<'a> Interleaved<'a> {
    /// What a callback was given; none in a format that is not taken.
    pub fn of(data: &'a Data) -> Option<Interleaved<'a>> {
        match data.sample_format() {
            SampleFormat::I8 => data.as_slice().map(Interleaved::I8),
            SampleFormat::I16 => data.as_slice().map(Interleaved::I16),
            SampleFormat::I24 => data.as_slice().map(Interleaved::I24),
            SampleFormat::I32 => data.as_slice().map(Interleaved::I32),
            SampleFormat::U8 => data.as_slice().map(Interleaved::U8),
            SampleFormat::U16 => data.as_slice().map(Interleaved::U16),
            SampleFormat::F32 => data.as_slice().map(Interleaved::F32),
            SampleFormat::F64 => data.as_slice().map(Interleaved::F64),
            _ => None,
        }
    }

    /// Number of samples, over all channels.
    pub fn len(&self) -> usize {
        match self {
            Interleaved::I8(x) => x.len(),
            Interleaved::I16(x) => x.len(),
            Interleaved::I24(x) => x.len(),
            Interleaved::I32(x) => x.len(),
            Interleaved::U8(x) => x.len(),
            Interleaved::U16(x) => x.len(),
            Interleaved::F32(x) => x.len(),
            Interleaved::F64(x) => x.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the mono samples of the frames from `first` on into `out`, as many as it takes; returns how many samples of
    /// the device were no numbers. Frames or channels that are not there are 0.
    ///
    /// Allocates nothing and never panics: it runs in the device's callback.
    pub fn mono(&self, channels: u16, channel: Channel, first: usize, out: &mut [f32]) -> u32 {
        let layout = Layout { channels: usize::from(channels), channel, first };
        match self {
            Interleaved::I8(x) => layout.mono(x, |v| (f32::from(v) / 128.0, true), out),
            Interleaved::I16(x) => layout.mono(x, |v| (f32::from(v) / 32768.0, true), out),
            // Only the lower three bytes are the sample's: what a driver leaves in the fourth is not.
            Interleaved::I24(x) => layout.mono(x, |v| (((v.inner() << 8) >> 8) as f32 / 8_388_608.0, true), out),
            Interleaved::I32(x) => layout.mono(x, |v| (v as f32 / 2_147_483_648.0, true), out),
            Interleaved::U8(x) => layout.mono(x, |v| ((f32::from(v) - 128.0) / 128.0, true), out),
            Interleaved::U16(x) => layout.mono(x, |v| ((f32::from(v) - 32768.0) / 32768.0, true), out),
            Interleaved::F32(x) => layout.mono(x, number, out),
            Interleaved::F64(x) => layout.mono(x, |v| if v.is_finite() { number(v.clamp(-1.0, 1.0) as f32) } else { (0.0, false) }, out),
        }
    }
}

/// The sample within full scale, and whether it is a number.
fn number(x: f32) -> (f32, bool) {
    if x.is_finite() { (x.clamp(-1.0, 1.0), true) } else { (0.0, false) }
}

/// Where in the interleaved samples the wanted ones stand.
struct Layout {
    channels: usize,
    channel: Channel,
    first: usize,
}

impl Layout {
    fn mono<T: Copy>(&self, samples: &[T], level: impl Fn(T) -> (f32, bool), out: &mut [f32]) -> u32 {
        let start = if self.channels == 0 { samples.len() } else { self.first.saturating_mul(self.channels).min(samples.len()) };
        let mut frames = samples[start..].chunks_exact(self.channels.max(1));
        let share = 1.0 / self.channels.max(1) as f32;
        let mut not_numbers = 0;
        let mut take = |x: T| {
            let (x, is_number) = level(x);
            not_numbers += u32::from(!is_number);
            x
        };
        for y in out {
            let frame = frames.next().unwrap_or_default();
            *y = match self.channel {
                Channel::One(n) => frame.get(usize::from(n)).map_or(0.0, |x| take(*x)),
                Channel::Mean => match frame {
                    [x] => take(*x),
                    _ => frame.iter().fold(0.0, |sum, x| sum + take(*x)) * share,
                },
            };
        }
        not_numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mono(x: Interleaved<'_>, channels: u16, channel: Channel) -> (Vec<f32>, u32) {
        let mut out = vec![9.0; x.len() / usize::from(channels)];
        let not_numbers = x.mono(channels, channel, 0, &mut out);
        (out, not_numbers)
    }

    #[test]
    fn full_scale_of_every_format_is_one_and_its_middle_is_zero() {
        let step = |bits: i32| 1.0 - 2f32.powi(1 - bits);
        let i24 = [I24::new_unchecked(-(1 << 23)), I24::new_unchecked(0), I24::new_unchecked((1 << 23) - 1)];
        let table: [(Interleaved<'_>, [f32; 3]); 8] = [
            (Interleaved::I8(&[i8::MIN, 0, i8::MAX]), [-1.0, 0.0, step(8)]),
            (Interleaved::I16(&[i16::MIN, 0, i16::MAX]), [-1.0, 0.0, step(16)]),
            (Interleaved::I24(&i24), [-1.0, 0.0, step(24)]),
            // The largest is nearer to 1 than f32 can tell.
            (Interleaved::I32(&[i32::MIN, 0, i32::MAX]), [-1.0, 0.0, 1.0]),
            (Interleaved::U8(&[0, 128, u8::MAX]), [-1.0, 0.0, step(8)]),
            (Interleaved::U16(&[0, 32768, u16::MAX]), [-1.0, 0.0, step(16)]),
            (Interleaved::F32(&[-1.0, 0.0, 1.0]), [-1.0, 0.0, 1.0]),
            (Interleaved::F64(&[-1.0, 0.0, 1.0]), [-1.0, 0.0, 1.0]),
        ];
        for (x, want) in table {
            assert_eq!(mono(x, 1, Channel::Mean), (want.to_vec(), 0), "{x:?}");
            assert_eq!(mono(x, 1, Channel::One(0)), (want.to_vec(), 0), "{x:?}");
        }
    }

    #[test]
    fn floats_beyond_full_scale_are_clipped_and_those_that_are_no_numbers_are_counted() {
        let f32s = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, -1.5, f32::MIN_POSITIVE];
        let f64s = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, -1.5, f64::from(f32::MIN_POSITIVE)];
        let want = vec![0.0, 0.0, 0.0, 1.0, -1.0, -1.0, f32::MIN_POSITIVE];
        assert_eq!(mono(Interleaved::F32(&f32s), 1, Channel::Mean), (want.clone(), 3));
        assert_eq!(mono(Interleaved::F64(&f64s), 1, Channel::Mean), (want, 3));
    }

    #[test]
    fn a_24_bit_sample_is_read_from_its_lower_three_bytes() {
        let unextended = [I24::new_unchecked(0x00ff_ffff), I24::new_unchecked(0x7f00_0001), I24::new_unchecked(0x0080_0000)];
        let one = 2f32.powi(-23);
        assert_eq!(mono(Interleaved::I24(&unextended), 1, Channel::Mean).0, [-one, one, -1.0]);
    }

    #[test]
    fn one_channel_is_taken_as_it_is_and_all_are_averaged() {
        let x = Interleaved::I16(&[16384, -32768, 0, 8192, 8192, -16384]);
        assert_eq!(mono(x, 3, Channel::One(0)).0, [0.5, 0.25]);
        assert_eq!(mono(x, 3, Channel::One(2)).0, [0.0, -0.5]);
        assert_eq!(mono(x, 3, Channel::Mean).0, [-0.5 / 3.0, 0.0]);
        assert_eq!(mono(Interleaved::U8(&[255, 1]), 2, Channel::Mean).0, [0.0]);
        assert_eq!(mono(Interleaved::F32(&[f32::NAN, 0.5]), 2, Channel::One(1)), (vec![0.5], 0), "what is not heard is not counted");
    }

    #[test]
    fn pieces_of_a_callback_give_what_the_whole_gives() {
        let samples: Vec<i16> = (0..40).map(|i| i * 771 - 15000).collect();
        let whole = mono(Interleaved::I16(&samples), 2, Channel::Mean).0;
        for cut in 0..=20 {
            let (mut a, mut b) = (vec![0.0; cut], vec![0.0; 20 - cut]);
            Interleaved::I16(&samples).mono(2, Channel::Mean, 0, &mut a);
            Interleaved::I16(&samples).mono(2, Channel::Mean, cut, &mut b);
            assert_eq!([a, b].concat(), whole);
        }
    }

    #[test]
    fn frames_and_channels_that_are_not_there_are_silence() {
        let mut out = [9.0; 3];
        assert_eq!(Interleaved::F32(&[0.5, 0.5, 0.25]).mono(2, Channel::Mean, 0, &mut out), 0);
        assert_eq!(out, [0.5, 0.0, 0.0]);
        Interleaved::F32(&[0.5, 0.5]).mono(2, Channel::One(2), 0, &mut out);
        assert_eq!(out, [0.0; 3]);
        Interleaved::F32(&[0.5]).mono(0, Channel::Mean, usize::MAX, &mut out);
        assert_eq!(out, [0.0; 3]);
    }
}
