//! Scores of a linear head with NEON: four classes share one conversion of the latent, and each has two registers of four
//! partial sums. Products and sums are rounded each for itself, as the scalar kernel does.

use std::arch::aarch64::{float32x4_t, vaddq_f32, vdupq_n_f32, vmulq_f32};

use super::{load_f32, store_f32};
use crate::kernel::scalar::{check_predict, finish};

/// As [`crate::kernel::scalar::predict`].
///
/// # Panics
/// As that.
pub fn predict(weights: &[f32], bias: &[f32], latent: &[i8], out: &mut [f32]) {
    check_predict(weights, bias, latent, out);
    // SAFETY: this module is built only where `target_feature = "neon"` holds, for every processor of the target.
    unsafe { scores(weights, bias, latent, out) }
}

#[target_feature(enable = "neon")]
fn scores(weights: &[f32], bias: &[f32], latent: &[i8], out: &mut [f32]) {
    let mut class = 0;
    while class < out.len() {
        class += match out.len() - class {
            4.. => block::<4>(class, weights, bias, latent, out),
            _ => block::<1>(class, weights, bias, latent, out),
        };
    }
}

/// The scores of `N` classes from `class` on; returns N.
#[target_feature(enable = "neon")]
#[inline]
fn block<const N: usize>(class: usize, weights: &[f32], bias: &[f32], latent: &[i8], out: &mut [f32]) -> usize {
    let (dim, (eights, rest)) = (latent.len(), latent.as_chunks::<8>());
    let rows: [&[f32]; N] = std::array::from_fn(|n| &weights[(class + n) * dim..][..dim]);
    let row_eights: [&[[f32; 8]]; N] = rows.map(|row| &row.as_chunks::<8>().0[..eights.len()]);
    let mut sums = [[vdupq_n_f32(0.0); 2]; N];
    for (j, q) in eights.iter().enumerate() {
        let x = halves(&q.map(f32::from));
        for (sums, row) in sums.iter_mut().zip(row_eights) {
            let w = halves(&row[j]);
            *sums = [add_product(sums[0], w[0], x[0]), add_product(sums[1], w[1], x[1])];
        }
    }
    for n in 0..N {
        let mut lanes = [0.0; 8];
        lanes.as_chunks_mut::<4>().0.iter_mut().zip(sums[n]).for_each(|(half, sum)| store_f32(half, sum));
        out[class + n] = finish(lanes, &rows[n][dim - rest.len()..], rest) + bias[class + n];
    }
    N
}

// Not `vfmaq_f32`, which rounds once where the other kernels round twice.
#[target_feature(enable = "neon")]
#[inline]
fn add_product(sum: float32x4_t, w: float32x4_t, x: float32x4_t) -> float32x4_t {
    vaddq_f32(sum, vmulq_f32(w, x))
}

#[target_feature(enable = "neon")]
#[inline]
fn halves(values: &[f32; 8]) -> [float32x4_t; 2] {
    let (halves, _) = values.as_chunks::<4>();
    [load_f32(&halves[0]), load_f32(&halves[1])]
}
