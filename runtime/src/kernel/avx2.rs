//! AVX2: the rank-k update of an integer Gram matrix, the same integers as [`super::scalar`].
//!
//! Rows are taken two at a time: a 32-bit lane holds one component of both, and `vpmaddwd` multiplies eight such lanes by
//! those of another component and adds the two products. Four components by sixteen columns are summed in registers over
//! all rows, and folded once into i64.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_add_epi64, _mm256_castsi256_si128, _mm256_cvtepi32_epi64, _mm256_extracti128_si256,
    _mm256_loadu_si256, _mm256_madd_epi16, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_storeu_si256, _mm256_sub_epi32,
    _mm256_xor_si256,
};

use super::scalar::{Sign, check_gram};

/// Components that are multiplied by the same columns.
const ROWS: usize = 4;
/// Columns of a block: two registers of eight.
const COLUMNS: usize = 16;
/// Columns that are gone through for all components before the next: with 32 rows they stay in the first-level cache.
const TILE: usize = 256;

/// True when the processor has it.
pub fn is_available() -> bool {
    is_x86_feature_detected!("avx2")
}

/// As [`super::scalar::gram_update`].
///
/// # Panics
/// As that, and without AVX2.
pub fn gram_update(latents: &[i8], dim: usize, sign: Sign, gram: &mut [i64]) {
    check_gram(latents, dim, gram);
    assert!(is_available(), "this processor has no AVX2");
    let pairs = Pairs::new(latents, dim);
    // SAFETY: the processor has AVX2, as was just asserted; nothing else is asked of the caller.
    unsafe { update(&pairs, sign, gram) }
}

/// Rows two at a time, with zeros behind the last column and in the place of a missing last row.
struct Pairs {
    dim: usize,
    /// Columns of a pair, a multiple of [`COLUMNS`].
    stride: usize,
    /// \[pairs, stride\]: the component of the first row in the low half, that of the second in the high half.
    lanes: Vec<i32>,
}

impl Pairs {
    fn new(latents: &[i8], dim: usize) -> Pairs {
        let stride = dim.next_multiple_of(COLUMNS);
        let mut lanes = vec![0; (latents.len() / dim).div_ceil(2) * stride];
        for (lanes, rows) in lanes.chunks_exact_mut(stride).zip(latents.chunks(2 * dim)) {
            let (first, second) = rows.split_at(dim);
            lanes.iter_mut().zip(first).for_each(|(lane, q)| *lane = i32::from(i16::from(*q) as u16));
            lanes.iter_mut().zip(second).for_each(|(lane, q)| *lane |= i32::from(*q) << 16);
        }
        Pairs { dim, stride, lanes }
    }
}

#[target_feature(enable = "avx2")]
fn update(pairs: &Pairs, sign: Sign, gram: &mut [i64]) {
    let dim = pairs.dim;
    for tile in (0..dim).step_by(TILE) {
        let tile_end = dim.min(tile + TILE);
        for i in (0..tile_end).step_by(ROWS) {
            for j in (tile.max(i / COLUMNS * COLUMNS)..tile_end).step_by(COLUMNS) {
                let block = products(pairs, i, j);
                for (i, sums) in (i..dim).zip(block) {
                    fold(sums, (i, j), dim, sign, gram);
                }
            }
        }
    }
}

/// The sums over all pairs of component `i` and the [`ROWS`] - 1 behind it times columns `j..j + COLUMNS`.
#[target_feature(enable = "avx2")]
fn products(pairs: &Pairs, i: usize, j: usize) -> [[__m256i; 2]; ROWS] {
    let mut sums = [[_mm256_setzero_si256(); 2]; ROWS];
    for lanes in pairs.lanes.chunks_exact(pairs.stride) {
        let columns = &lanes[j..j + COLUMNS];
        // SAFETY: each loads eight of the sixteen i32 of `columns`; no alignment is asked for.
        let columns = unsafe { [0, 8].map(|n| _mm256_loadu_si256(columns.as_ptr().add(n).cast())) };
        for (sums, component) in sums.iter_mut().zip(&lanes[i..i + ROWS]) {
            let component = _mm256_set1_epi32(*component);
            for (sum, columns) in sums.iter_mut().zip(columns) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(component, columns));
            }
        }
    }
    sums
}

/// Adds sums of component `i` times columns `j..j + COLUMNS` to their places, or subtracts them.
#[target_feature(enable = "avx2")]
fn fold(sums: [__m256i; 2], (i, j): (usize, usize), dim: usize, sign: Sign, gram: &mut [i64]) {
    let negate = _mm256_set1_epi32(if sign == Sign::Subtract { -1 } else { 0 });
    let sums = sums.map(|s| _mm256_sub_epi32(_mm256_xor_si256(s, negate), negate));
    // Component i has its own row of the triangle, which begins with column i.
    let row = i * dim - i * i.saturating_sub(1) / 2;
    if j >= i && j + COLUMNS <= dim {
        let out = &mut gram[row + j - i..][..COLUMNS];
        let quarters = sums.map(|s| [_mm256_castsi256_si128(s), _mm256_extracti128_si256::<1>(s)]);
        for (out, quarter) in out.chunks_exact_mut(4).zip(quarters.as_flattened()) {
            let place: *mut __m256i = out.as_mut_ptr().cast();
            // SAFETY: `out` is four i64, which are loaded and stored whole; no alignment is asked for.
            unsafe { _mm256_storeu_si256(place, _mm256_add_epi64(_mm256_loadu_si256(place), _mm256_cvtepi32_epi64(*quarter))) }
        }
        return;
    }
    let mut each = [0i32; COLUMNS];
    for (each, sums) in each.chunks_exact_mut(8).zip(sums) {
        // SAFETY: `each` is eight i32, which are stored whole; no alignment is asked for.
        unsafe { _mm256_storeu_si256(each.as_mut_ptr().cast(), sums) }
    }
    for column in j.max(i)..dim.min(j + COLUMNS) {
        gram[row + column - i] += i64::from(each[column - j]);
    }
}
