//! A query against packed latents with NEON.
//!
//! Sixteen components are unpacked at a time: `tbl` brings the two bytes that a component lies in into its 16-bit lane, and
//! two shifts take it to the top of the lane and, with its sign, down again. `smlal` then multiplies and adds in i32.

use std::arch::aarch64::{
    int16x8_t, int32x4_t, uint8x16_t, vaddvq_s32, vandq_s16, vdupq_n_s16, vdupq_n_s32, vget_low_s16, vmlal_high_s16, vmlal_s16, vqtbl1q_u8,
    vreinterpretq_s16_u8, vshlq_s16, vsubq_s16,
};

use super::{load_i16, load_u8};
use crate::kernel::fields::{COMPONENTS, Fields, padded, sixteen_bytes};
use crate::kernel::scalar::check_packed;

/// Sixteen components in i16, or what belongs to each.
type Lanes = [int16x8_t; 2];

/// As [`crate::kernel::scalar::packed_dots`].
///
/// # Panics
/// As that.
pub fn packed_dots(query: &[i8], rows: &[u8], bits: u8, stride_bytes: usize, out: &mut [i32]) {
    check_packed(query, rows, bits, stride_bytes, out);
    // SAFETY: this module is built only where `target_feature = "neon"` holds, for every processor of the target.
    unsafe { each_row::<false>(query, rows, bits, stride_bytes, out) }
}

/// As [`crate::kernel::scalar::packed_distances`].
///
/// # Panics
/// As that.
pub fn packed_distances(query: &[i8], rows: &[u8], bits: u8, stride_bytes: usize, out: &mut [i32]) {
    check_packed(query, rows, bits, stride_bytes, out);
    // SAFETY: this module is built only where `target_feature = "neon"` holds, for every processor of the target.
    unsafe { each_row::<true>(query, rows, bits, stride_bytes, out) }
}

#[target_feature(enable = "neon")]
fn each_row<const DISTANCE: bool>(query: &[i8], rows: &[u8], bits: u8, stride_bytes: usize, out: &mut [i32]) {
    let unpack = Unpack::new(bits);
    let (blocks, rest) = query.as_chunks::<COMPONENTS>();
    // Behind the last component both sides are zero.
    let last = widened(&padded(rest));
    let keep = halves(&std::array::from_fn(|k| if k < rest.len() { -1 } else { 0 }));
    let block_bytes = COMPONENTS / 8 * usize::from(bits);
    for (n, out) in out.iter_mut().enumerate() {
        // The next rows may be read along with this one's last bytes: their components are not used.
        let row = &rows[n * stride_bytes..];
        let mut sums = [vdupq_n_s32(0); 2];
        for (block, query) in blocks.iter().enumerate() {
            let (q, x) = (widened(query), unpack.components(&sixteen_bytes(row, block * block_bytes)));
            sums = [add::<DISTANCE>(sums[0], q[0], x[0]), add::<DISTANCE>(sums[1], q[1], x[1])];
        }
        if !rest.is_empty() {
            let x = unpack.components(&sixteen_bytes(row, blocks.len() * block_bytes));
            sums =
                [add::<DISTANCE>(sums[0], last[0], vandq_s16(x[0], keep[0])), add::<DISTANCE>(sums[1], last[1], vandq_s16(x[1], keep[1]))];
        }
        *out = vaddvq_s32(sums[0]) + vaddvq_s32(sums[1]);
    }
}

#[target_feature(enable = "neon")]
#[inline]
fn add<const DISTANCE: bool>(sum: int32x4_t, q: int16x8_t, x: int16x8_t) -> int32x4_t {
    let (a, b) = if DISTANCE {
        let difference = vsubq_s16(q, x);
        (difference, difference)
    } else {
        (q, x)
    };
    vmlal_high_s16(vmlal_s16(sum, vget_low_s16(a), vget_low_s16(b)), a, b)
}

#[target_feature(enable = "neon")]
#[inline]
fn widened(values: &[i8; COMPONENTS]) -> Lanes {
    halves(&values.map(i16::from))
}

#[target_feature(enable = "neon")]
#[inline]
fn halves(values: &[i16; COMPONENTS]) -> Lanes {
    let (halves, _) = values.as_chunks::<8>();
    [load_i16(&halves[0]), load_i16(&halves[1])]
}

struct Unpack {
    bytes: [uint8x16_t; 2],
    left: Lanes,
    right: int16x8_t,
}

impl Unpack {
    #[target_feature(enable = "neon")]
    fn new(bits: u8) -> Unpack {
        let fields = Fields::new(bits);
        let (halves_of_bytes, _) = fields.bytes.as_chunks::<16>();
        Unpack {
            bytes: [load_u8(&halves_of_bytes[0]), load_u8(&halves_of_bytes[1])],
            left: halves(&fields.left),
            // A shift by a negative number goes right.
            right: vdupq_n_s16(i16::from(bits) - 16),
        }
    }

    /// The sixteen components at the start of `bytes`, with their signs.
    #[target_feature(enable = "neon")]
    #[inline]
    fn components(&self, bytes: &[u8; 16]) -> Lanes {
        let bytes = load_u8(bytes);
        [0, 1].map(|half| {
            let fields = vreinterpretq_s16_u8(vqtbl1q_u8(bytes, self.bytes[half]));
            vshlq_s16(vshlq_s16(fields, self.left[half]), self.right)
        })
    }
}
