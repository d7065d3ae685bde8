//! Numbers without visible order from numbers: the finaliser of splitmix64 (Steele 2014), a permutation of all 64-bit numbers that is
//! the same everywhere.

/// What splitmix64 adds to its state for each number.
pub(crate) const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The number in the place of `x`.
pub(crate) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
