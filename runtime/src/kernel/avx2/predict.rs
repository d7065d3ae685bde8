//! Scores of a linear head with AVX2: eight classes share one conversion of the latent, and each has a register of eight
//! partial sums. Products and sums are rounded each for itself, as the scalar kernel does.

use std::arch::x86_64::{_mm256_add_ps, _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps, _mm256_mul_ps, _mm256_setzero_ps};

use super::{assert_available, load_8_latents, load_f32, store_f32};
use crate::kernel::scalar::{check_predict, finish};

/// As [`crate::kernel::scalar::predict`].
///
/// # Panics
/// As that, and without AVX2.
pub fn predict(weights: &[f32], bias: &[f32], latent: &[i8], out: &mut [f32]) {
    check_predict(weights, bias, latent, out);
    assert_available();
    // SAFETY: the processor has AVX2, as was just asserted; nothing else is asked of the caller.
    unsafe { scores(weights, bias, latent, out) }
}

#[target_feature(enable = "avx2")]
fn scores(weights: &[f32], bias: &[f32], latent: &[i8], out: &mut [f32]) {
    let mut class = 0;
    while class < out.len() {
        class += match out.len() - class {
            8.. => block::<8>(class, weights, bias, latent, out),
            4.. => block::<4>(class, weights, bias, latent, out),
            _ => block::<1>(class, weights, bias, latent, out),
        };
    }
}

/// The scores of `N` classes from `class` on; returns N.
#[target_feature(enable = "avx2")]
#[inline]
fn block<const N: usize>(class: usize, weights: &[f32], bias: &[f32], latent: &[i8], out: &mut [f32]) -> usize {
    let (dim, (eights, rest)) = (latent.len(), latent.as_chunks::<8>());
    let rows: [&[f32]; N] = std::array::from_fn(|n| &weights[(class + n) * dim..][..dim]);
    let row_eights: [&[[f32; 8]]; N] = rows.map(|row| &row.as_chunks::<8>().0[..eights.len()]);
    let mut sums = [_mm256_setzero_ps(); N];
    for (j, q) in eights.iter().enumerate() {
        let x = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(load_8_latents(q)));
        for (sum, row) in sums.iter_mut().zip(row_eights) {
            *sum = _mm256_add_ps(*sum, _mm256_mul_ps(load_f32(&row[j]), x));
        }
    }
    for n in 0..N {
        let mut lanes = [0.0; 8];
        store_f32(&mut lanes, sums[n]);
        out[class + n] = finish(lanes, &rows[n][dim - rest.len()..], rest) + bias[class + n];
    }
    N
}
