//! The rank-k update of an integer Gram matrix with AVX2.
//!
//! Rows are taken two at a time: a 32-bit lane holds one component of both, and `vpmaddwd` multiplies eight such lanes by
//! those of another component and adds the two products. Four components by sixteen columns are summed in registers over
//! all rows, and folded once into i64.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_add_epi64, _mm256_castsi256_si128, _mm256_cvtepi32_epi64, _mm256_extracti128_si256,
    _mm256_madd_epi16, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_sub_epi32, _mm256_xor_si256,
};

use super::{assert_available, load_i32, load_i64, store_i32, store_i64};
use crate::kernel::scalar::{Sign, check_gram};
use crate::kernel::triangle::{COLUMNS, ROWS, TILE, fold_edge, is_whole, row_start};

/// As [`crate::kernel::scalar::gram_update`].
///
/// # Panics
/// As that, and without AVX2.
pub fn gram_update(latents: &[i8], dim: usize, sign: Sign, gram: &mut [i64]) {
    check_gram(latents, dim, gram);
    assert_available();
    let panels = Panels::new(latents, dim);
    // SAFETY: the processor has AVX2, as was just asserted; nothing else is asked of the caller.
    unsafe { update(&panels, sign, gram) }
}

/// Sixteen columns of two rows: the component of the first row in a lane's low half, that of the second in its high half.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Pair([i32; COLUMNS]);

/// The latents by columns: all pairs of rows of one panel of [`COLUMNS`] lie together, whatever D is. (Row by row they would
/// be a power of two apart for the usual D, and push each other out of the first-level cache.)
struct Panels {
    dim: usize,
    /// Pairs of rows; zeros stand in the place of a missing last row.
    pairs: usize,
    /// \[panels, pairs\], with zeros behind the last column.
    lanes: Vec<Pair>,
}

impl Panels {
    fn new(latents: &[i8], dim: usize) -> Panels {
        let pairs = (latents.len() / dim).div_ceil(2);
        let mut lanes = vec![Pair([0; COLUMNS]); dim.div_ceil(COLUMNS) * pairs];
        for (pair, rows) in latents.chunks(2 * dim).enumerate() {
            let (first, second) = rows.split_at(dim);
            for (panel, q) in first.chunks(COLUMNS).enumerate() {
                lanes[panel * pairs + pair].0.iter_mut().zip(q).for_each(|(lane, q)| *lane = i32::from(i16::from(*q) as u16));
            }
            for (panel, q) in second.chunks(COLUMNS).enumerate() {
                lanes[panel * pairs + pair].0.iter_mut().zip(q).for_each(|(lane, q)| *lane |= i32::from(*q) << 16);
            }
        }
        Panels { dim, pairs, lanes }
    }

    /// The panel that `column` lies in.
    fn of(&self, column: usize) -> &[Pair] {
        &self.lanes[column / COLUMNS * self.pairs..][..self.pairs]
    }
}

#[target_feature(enable = "avx2")]
fn update(panels: &Panels, sign: Sign, gram: &mut [i64]) {
    let dim = panels.dim;
    for tile in (0..dim).step_by(TILE) {
        let tile_end = dim.min(tile + TILE);
        for i in (0..tile_end).step_by(ROWS) {
            let components = panels.of(i);
            for j in (tile.max(i / COLUMNS * COLUMNS)..tile_end).step_by(COLUMNS) {
                let sums = products(components, i % COLUMNS, panels.of(j));
                if is_whole((i, j), dim) {
                    for (i, sums) in (i..).zip(sums) {
                        fold(sums, sign, &mut gram[row_start(i, dim) + j..][..COLUMNS]);
                    }
                } else {
                    fold_edge(&lanes(sums), (i, j), dim, sign, gram);
                }
            }
        }
    }
}

/// The sums over all pairs of components `first..first + ROWS` of one panel times the columns of another.
#[target_feature(enable = "avx2")]
#[inline]
fn products(components: &[Pair], first: usize, columns: &[Pair]) -> [[__m256i; 2]; ROWS] {
    let mut sums = [[_mm256_setzero_si256(); 2]; ROWS];
    for (component, columns) in components.iter().zip(columns) {
        let (halves, _) = columns.0.as_chunks::<8>();
        let columns = [load_i32(&halves[0]), load_i32(&halves[1])];
        for (sums, component) in sums.iter_mut().zip(&component.0[first..first + ROWS]) {
            let component = _mm256_set1_epi32(*component);
            for (sum, columns) in sums.iter_mut().zip(columns) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(component, columns));
            }
        }
    }
    sums
}

/// Adds the sums of one component to their sixteen places, or subtracts them.
#[target_feature(enable = "avx2")]
#[inline]
fn fold(sums: [__m256i; 2], sign: Sign, out: &mut [i64]) {
    let negate = _mm256_set1_epi32(if sign == Sign::Subtract { -1 } else { 0 });
    let sums = sums.map(|s| _mm256_sub_epi32(_mm256_xor_si256(s, negate), negate));
    let quarters = sums.map(|s| [_mm256_castsi256_si128(s), _mm256_extracti128_si256::<1>(s)]);
    let (out, _) = out.as_chunks_mut::<4>();
    for (out, quarter) in out.iter_mut().zip(quarters.as_flattened()) {
        store_i64(out, _mm256_add_epi64(load_i64(out), _mm256_cvtepi32_epi64(*quarter)));
    }
}

#[target_feature(enable = "avx2")]
fn lanes(sums: [[__m256i; 2]; ROWS]) -> [[i32; COLUMNS]; ROWS] {
    let mut lanes = [[0; COLUMNS]; ROWS];
    for (lanes, sums) in lanes.iter_mut().zip(sums) {
        let (halves, _) = lanes.as_chunks_mut::<8>();
        halves.iter_mut().zip(sums).for_each(|(half, sum)| store_i32(half, sum));
    }
    lanes
}
