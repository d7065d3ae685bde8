//! A query against packed latents with AVX2.
//!
//! Sixteen components are unpacked at a time: `vpshufb` brings the two bytes that a component lies in into its 16-bit lane, a
//! product with a power of two shifts its sign to the top, and the high half of another product shifts it down again.
//! `vpmaddwd` then multiplies, and adds neighbours, in i32.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_cvtepi8_epi16, _mm256_madd_epi16, _mm256_mulhi_epi16,
    _mm256_mullo_epi16, _mm256_set1_epi16, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_sub_epi16,
};

use super::{assert_available, load_16_bytes, load_16_latents, load_32_bytes, load_i16, store_i32};
use crate::kernel::fields::{COMPONENTS, Fields, padded, sixteen_bytes};
use crate::kernel::scalar::check_packed;

/// As [`crate::kernel::scalar::packed_dots`].
///
/// # Panics
/// As that, and without AVX2.
pub fn packed_dots(query: &[i8], rows: &[u8], bits: u8, stride_bytes: usize, out: &mut [i32]) {
    check_packed(query, rows, bits, stride_bytes, out);
    assert_available();
    // SAFETY: the processor has AVX2, as was just asserted; nothing else is asked of the caller.
    unsafe { each_row::<false>(query, rows, bits, stride_bytes, out) }
}

/// As [`crate::kernel::scalar::packed_distances`].
///
/// # Panics
/// As that, and without AVX2.
pub fn packed_distances(query: &[i8], rows: &[u8], bits: u8, stride_bytes: usize, out: &mut [i32]) {
    check_packed(query, rows, bits, stride_bytes, out);
    assert_available();
    // SAFETY: the processor has AVX2, as was just asserted; nothing else is asked of the caller.
    unsafe { each_row::<true>(query, rows, bits, stride_bytes, out) }
}

#[target_feature(enable = "avx2")]
fn each_row<const DISTANCE: bool>(query: &[i8], rows: &[u8], bits: u8, stride_bytes: usize, out: &mut [i32]) {
    let unpack = Unpack::new(bits);
    let (blocks, rest) = query.as_chunks::<COMPONENTS>();
    // Behind the last component both sides are zero.
    let last = _mm256_cvtepi8_epi16(load_16_latents(&padded(rest)));
    let keep = load_i16(&std::array::from_fn(|k| if k < rest.len() { -1 } else { 0 }));
    let block_bytes = COMPONENTS / 8 * usize::from(bits);
    for (n, out) in out.iter_mut().enumerate() {
        // The next rows may be read along with this one's last bytes: their components are not used.
        let row = &rows[n * stride_bytes..];
        let mut sum = _mm256_setzero_si256();
        for (block, query) in blocks.iter().enumerate() {
            let x = unpack.components(&sixteen_bytes(row, block * block_bytes));
            sum = add::<DISTANCE>(sum, _mm256_cvtepi8_epi16(load_16_latents(query)), x);
        }
        if !rest.is_empty() {
            let x = unpack.components(&sixteen_bytes(row, blocks.len() * block_bytes));
            sum = add::<DISTANCE>(sum, last, _mm256_and_si256(x, keep));
        }
        let mut lanes = [0; 8];
        store_i32(&mut lanes, sum);
        *out = lanes.iter().sum();
    }
}

#[target_feature(enable = "avx2")]
#[inline]
fn add<const DISTANCE: bool>(sum: __m256i, q: __m256i, x: __m256i) -> __m256i {
    let (a, b) = if DISTANCE {
        let difference = _mm256_sub_epi16(q, x);
        (difference, difference)
    } else {
        (q, x)
    };
    _mm256_add_epi32(sum, _mm256_madd_epi16(a, b))
}

struct Unpack {
    bytes: __m256i,
    left: __m256i,
    right: __m256i,
}

impl Unpack {
    #[target_feature(enable = "avx2")]
    fn new(bits: u8) -> Unpack {
        let fields = Fields::new(bits);
        Unpack { bytes: load_32_bytes(&fields.bytes), left: load_i16(&fields.left.map(|n| 1 << n)), right: _mm256_set1_epi16(1 << bits) }
    }

    /// The sixteen components at the start of `bytes`, with their signs.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn components(&self, bytes: &[u8; 16]) -> __m256i {
        let both_halves = _mm256_broadcastsi128_si256(load_16_bytes(bytes));
        let fields = _mm256_shuffle_epi8(both_halves, self.bytes);
        _mm256_mulhi_epi16(_mm256_mullo_epi16(fields, self.left), self.right)
    }
}
