//! Sound in: decoding of files and capture from microphones to mono samples, and streaming resampling to the backbone's rate.

#[cfg(feature = "capture")]
pub mod capture;
pub mod decode;
pub mod resample;

use crate::{Error, ErrorKind, Result};

/// Sample rates that are accepted, in hertz; a header outside this range is a damaged header.
pub const RATES_HZ: std::ops::RangeInclusive<u32> = 1000..=768_000;

pub(crate) fn check_rate(rate_hz: u32) -> Result<()> {
    if RATES_HZ.contains(&rate_hz) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Input, "a sample rate no sound has")
        .expected(format!("{} to {} Hz", RATES_HZ.start(), RATES_HZ.end()))
        .found(format!("{rate_hz} Hz"))
        .cure("the header is probably damaged: convert the file again from its original"))
}

/// Refuses a sample that is not a finite number, naming its position counted from `start`.
pub(crate) fn check_finite(samples: &[f32], start: u64) -> Result<()> {
    // One pass that the compiler vectorises; the position is looked up only when something is wrong.
    if samples.iter().fold(true, |ok, x| ok & x.is_finite()) {
        return Ok(());
    }
    let i = samples.iter().position(|x| !x.is_finite()).unwrap_or(0);
    Err(Error::new(ErrorKind::Input, "a sample is not a number")
        .at(format!("sample {}", start + i as u64))
        .expected("finite samples")
        .found(samples[i])
        .cure("repair the recording, or leave it out: nothing was learned from this piece"))
}
