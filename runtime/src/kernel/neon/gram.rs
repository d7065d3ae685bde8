//! The rank-k update of an integer Gram matrix with NEON.
//!
//! Latents are widened to i16, and `smlal` multiplies four columns by one component and adds the products in i32. Four
//! components by sixteen columns are summed in sixteen registers over all rows, and folded once into i64.

use std::arch::aarch64::{
    int32x4_t, vaddw_high_s32, vaddw_s32, vdupq_n_s32, vget_high_s16, vget_low_s16, vget_low_s32, vmlal_n_s16, vsubw_high_s32, vsubw_s32,
};

use super::{load_i16, load_i64, store_i32, store_i64};
use crate::kernel::scalar::{Sign, check_gram};
use crate::kernel::triangle::{COLUMNS, ROWS, TILE, fold_edge, is_whole, row_start};

/// Sums of one component times sixteen columns.
type Sums = [int32x4_t; COLUMNS / 4];

/// As [`crate::kernel::scalar::gram_update`].
///
/// # Panics
/// As that.
pub fn gram_update(latents: &[i8], dim: usize, sign: Sign, gram: &mut [i64]) {
    check_gram(latents, dim, gram);
    // SAFETY: this module is built only where `target_feature = "neon"` holds, for every processor of the target.
    unsafe { update(latents, dim, sign, gram) }
}

#[target_feature(enable = "neon")]
fn update(latents: &[i8], dim: usize, sign: Sign, gram: &mut [i64]) {
    let rows = latents.len() / dim;
    let panels = panels(latents, dim);
    let panel_of = |column: usize| &panels[column / COLUMNS * rows..][..rows];
    for tile in (0..dim).step_by(TILE) {
        let tile_end = dim.min(tile + TILE);
        for i in (0..tile_end).step_by(ROWS) {
            for j in (tile.max(i / COLUMNS * COLUMNS)..tile_end).step_by(COLUMNS) {
                let sums = products(panel_of(i), i % COLUMNS, panel_of(j));
                if is_whole((i, j), dim) {
                    for (i, sums) in (i..).zip(sums) {
                        fold(sums, sign, &mut gram[row_start(i, dim) + j..][..COLUMNS]);
                    }
                } else {
                    fold_edge(&sums.map(|sums| lanes(sums)), (i, j), dim, sign, gram);
                }
            }
        }
    }
}

/// The latents by columns \[panels, rows\]: all rows of one panel of [`COLUMNS`] lie together, with zeros behind the last column.
fn panels(latents: &[i8], dim: usize) -> Vec<[i16; COLUMNS]> {
    let rows = latents.len() / dim;
    let mut panels = vec![[0; COLUMNS]; dim.div_ceil(COLUMNS) * rows];
    for (n, row) in latents.chunks(dim).enumerate() {
        for (panel, q) in row.chunks(COLUMNS).enumerate() {
            panels[panel * rows + n].iter_mut().zip(q).for_each(|(lane, q)| *lane = i16::from(*q));
        }
    }
    panels
}

/// The sums over all rows of components `first..first + ROWS` of one panel times the columns of another.
#[target_feature(enable = "neon")]
#[inline]
fn products(components: &[[i16; COLUMNS]], first: usize, columns: &[[i16; COLUMNS]]) -> [Sums; ROWS] {
    let mut sums = [[vdupq_n_s32(0); COLUMNS / 4]; ROWS];
    for (component, columns) in components.iter().zip(columns) {
        let (halves, _) = columns.as_chunks::<8>();
        let (a, b) = (load_i16(&halves[0]), load_i16(&halves[1]));
        let quarters = [vget_low_s16(a), vget_high_s16(a), vget_low_s16(b), vget_high_s16(b)];
        for (sums, component) in sums.iter_mut().zip(&component[first..first + ROWS]) {
            for (sum, quarter) in sums.iter_mut().zip(quarters) {
                *sum = vmlal_n_s16(*sum, quarter, *component);
            }
        }
    }
    sums
}

/// Adds the sums of one component to their sixteen places, or subtracts them.
#[target_feature(enable = "neon")]
#[inline]
fn fold(sums: Sums, sign: Sign, out: &mut [i64]) {
    let (out, _) = out.as_chunks_mut::<2>();
    for (out, sum) in out.as_chunks_mut::<2>().0.iter_mut().zip(sums) {
        let (low, high) = (load_i64(&out[0]), load_i64(&out[1]));
        let (low, high) = match sign {
            Sign::Add => (vaddw_s32(low, vget_low_s32(sum)), vaddw_high_s32(high, sum)),
            Sign::Subtract => (vsubw_s32(low, vget_low_s32(sum)), vsubw_high_s32(high, sum)),
        };
        store_i64(&mut out[0], low);
        store_i64(&mut out[1], high);
    }
}

#[target_feature(enable = "neon")]
fn lanes(sums: Sums) -> [i32; COLUMNS] {
    let mut lanes = [0; COLUMNS];
    lanes.as_chunks_mut::<4>().0.iter_mut().zip(sums).for_each(|(quarter, sum)| store_i32(quarter, sum));
    lanes
}
