//! Units that travel: moments of time on a device whose clock may be wrong.

use serde::{Deserialize, Serialize};

/// When something happened, as far as the device knows.
///
/// The monotonic clock orders moments within one boot even when the wall clock jumps; the wall clock places them in the
/// world when it is known, with an uncertainty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Moment {
    /// Identifies the boot that `monotonic_ns` counts from; zeros when unknown.
    pub boot_id: [u8; 16],
    /// Nanoseconds since that boot, sleep included (`CLOCK_BOOTTIME`).
    pub monotonic_ns: u64,
    /// Milliseconds since 1970-01-01 UTC, when the wall clock was known.
    pub wall_ms: Option<i64>,
    /// Uncertainty of `wall_ms` in milliseconds; `u32::MAX` when unknown.
    pub uncertainty_ms: u32,
}

impl Moment {
    /// The moment nothing is known about.
    pub const UNKNOWN: Moment = Moment { boot_id: [0; 16], monotonic_ns: 0, wall_ms: None, uncertainty_ms: u32::MAX };
}
