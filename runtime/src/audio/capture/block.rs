//! How much sound comes at once, and when the next is due.

use std::time::Duration;

use cpal::{BufferSize, SupportedBufferSize, SupportedStreamConfigRange};

use super::devices::Opening;

/// How much sound comes at once, where the device can. Unasked, ALSA gives as little as it can: a thousand callbacks a second, and from
/// PulseAudio, which sends more than that at once, a thread that never rests. An event waits for the end of its block, half of one on average.
const BLOCK_MS: u32 = 10;

/// The block to ask for: [`BLOCK_MS`] as far as the device has it; its own where it does not say.
pub(super) fn block(ranges: &[SupportedStreamConfigRange], opening: Opening) -> BufferSize {
    let Opening { samples, channels, rate_hz } = opening;
    let is_of = |r: &&SupportedStreamConfigRange| {
        (r.sample_format(), r.channels()) == (samples, channels) && (r.min_sample_rate()..=r.max_sample_rate()).contains(&rate_hz)
    };
    match ranges.iter().find(is_of).map(SupportedStreamConfigRange::buffer_size) {
        Some(SupportedBufferSize::Range { min, max }) if *min <= *max => BufferSize::Fixed((rate_hz / 1000 * BLOCK_MS).clamp(*min, *max)),
        _ => BufferSize::Default,
    }
}

/// Whether a device of this id is driven by hardware, or by a sound system that calls when there is a block. ALSA's plugins, whose ids are one
/// name, do not: while PulseAudio's holds a part of a block, it says that it has one, and the thread of the sound system asks again and
/// again.
pub(super) fn drives(id: &str) -> bool {
    id.strip_prefix("alsa:").is_none_or(|name| name.contains(':'))
}

/// How long the thread of a sound system that asks again and again may rest after a block, the first frame of which is `age` old: until
/// just before the next one; not at all while more blocks wait.
pub(super) fn rest(age: Duration, frames: usize, rate_hz: u32) -> Duration {
    let block = Duration::from_secs_f64(frames as f64 / f64::from(rate_hz.max(1)));
    if age > 3 * block { Duration::ZERO } else { block * 63 / 64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_rests_nearly_a_block_and_catches_up_without_rest() {
        let ms = Duration::from_millis;
        assert_eq!(rest(ms(60), 3200, 64_000), ms(50) * 63 / 64);
        assert_eq!(rest(ms(200), 3200, 64_000), Duration::ZERO);
        let table = [("alsa:default", false), ("alsa:pulse", false), ("alsa:hw:CARD=U0x46d,DEV=0", true), ("coreaudio:mic", true)];
        table.iter().for_each(|(id, want)| assert_eq!(drives(id), *want, "{id}"));
    }
}
