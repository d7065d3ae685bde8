//! Origins: who learned a block. Sums of one origin are cumulative, so of two blocks of one origin the later holds all of
//! the earlier, and nothing is counted twice.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A device, in one of its incarnations.
///
/// A new incarnation starts when an adapter is created, restored from a copy or rolled back: what it counts from then on
/// is no continuation of what others may have received under the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The device; random, unless the adapter was created with a device of its own choosing.
    pub device: [u8; 16],
    /// The incarnation; random, so that two restores of one copy differ.
    pub incarnation: u64,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.device.iter().try_for_each(|b| write!(f, "{b:02x}"))?;
        write!(f, ".{:016x}", self.incarnation)
    }
}
