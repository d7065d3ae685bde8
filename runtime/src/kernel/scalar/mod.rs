//! Scalar kernels: the rank-k update of an integer Gram matrix, sums of latents, products of f32 vectors and rows, a query
//! against packed latents, and the scores of a linear head.
//!
//! A component lies in -127..=127, so a product is at most 16,129, the sum of two products fits an i16 and the sum of
//! [`CHUNK_ROWS_MAX`] products fits an i32. -128 would break the last two and must be kept out by the caller.

mod dense;
mod packed;
mod predict;

pub use dense::{scores, triangle_square};
pub(super) use packed::check_packed;
pub use packed::{DIM_MAX, packed_distances, packed_dots};
pub use predict::predict;
pub(super) use predict::{check_predict, finish};

/// Rows whose products one i32 holds: `133,000 * 127^2 < 2^31`.
pub const CHUNK_ROWS_MAX: usize = 133_000;

/// Rows of f32 that are multiplied together.
const ROWS: usize = 4;

/// Columns whose i32 accumulators are worked on at once; one tile stays in the first-level cache.
const TILE: usize = 256;

/// Adds `sum_i q_i q_i^T` to a Gram matrix, or subtracts it.
///
/// # Shapes
/// `latents` i8 \[n, D\] row-major with `n <= CHUNK_ROWS_MAX` and no component of -128; `gram` i64, the upper triangle
/// row-major: D(D+1)/2.
///
/// Products are summed in i32 inside the call, and folded once into i64. The caller sees to it that `gram` cannot
/// overflow; see [`crate::learn::block::ROWS_MAX`].
///
/// # Panics
/// When a length does not fit the shapes.
pub fn gram_update(latents: &[i8], dim: usize, sign: Sign, gram: &mut [i64]) {
    check_gram(latents, dim, gram);
    let wide: Vec<i16> = latents.iter().map(|q| i16::from(*q)).collect();
    let mut rest = gram;
    for i in 0..dim {
        let (row, tail) = rest.split_at_mut(dim - i);
        rest = tail;
        for (tile, out) in row.chunks_mut(TILE).enumerate() {
            let first = i + tile * TILE;
            gram_tile(&wide, dim, i, first, sign, out);
        }
    }
}

/// Checks the shapes of a rank-k update.
pub(super) fn check_gram(latents: &[i8], dim: usize, gram: &[i64]) {
    assert!(dim > 0 && latents.len().is_multiple_of(dim), "latents are n x {dim}");
    assert!(latents.len() / dim <= CHUNK_ROWS_MAX, "one call holds at most {CHUNK_ROWS_MAX} rows");
    assert_eq!(gram.len(), dim * (dim + 1) / 2, "packed upper triangle");
}

/// One tile of row `i` of the Gram matrix: columns `first..first + out.len()`.
fn gram_tile(wide: &[i16], dim: usize, i: usize, first: usize, sign: Sign, out: &mut [i64]) {
    let mut acc = [0i32; TILE];
    let acc = &mut acc[..out.len()];
    let mut pairs = wide.chunks_exact(2 * dim);
    for pair in &mut pairs {
        let (a, b) = pair.split_at(dim);
        let (ai, bi) = (a[i], b[i]);
        if ai == 0 && bi == 0 {
            continue;
        }
        let (a, b) = (&a[first..first + acc.len()], &b[first..first + acc.len()]);
        for ((s, x), y) in acc.iter_mut().zip(a).zip(b) {
            *s += i32::from(ai * x + bi * y);
        }
    }
    let last = pairs.remainder();
    if !last.is_empty() {
        for (s, x) in acc.iter_mut().zip(&last[first..]) {
            *s += i32::from(last[i] * x);
        }
    }
    match sign {
        Sign::Add => out.iter_mut().zip(acc).for_each(|(g, s)| *g += i64::from(*s)),
        Sign::Subtract => out.iter_mut().zip(acc).for_each(|(g, s)| *g -= i64::from(*s)),
    }
}

/// Adds one latent \[D\] to a sum \[D\], or subtracts it.
pub fn sum_update(latent: &[i8], sign: Sign, sum: &mut [i64]) {
    match sign {
        Sign::Add => sum.iter_mut().zip(latent).for_each(|(s, q)| *s += i64::from(*q)),
        Sign::Subtract => sum.iter_mut().zip(latent).for_each(|(s, q)| *s -= i64::from(*q)),
    }
}

/// Whether a kernel adds or subtracts its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// The rows are learned.
    Add,
    /// The rows are taken back.
    Subtract,
}

/// Dot product of two f32 vectors of one length.
///
/// Eight partial sums in a fixed order: the same bits on every machine, with an error of at most
/// `(n / 8 + 8) * 2^-24 * sum |a_i b_i|`.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut acc = [0f32; 8];
    let (ca, cb) = (a.chunks_exact(8), b.chunks_exact(8));
    let tail: f32 = ca.remainder().iter().zip(cb.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in ca.zip(cb) {
        for k in 0..8 {
            acc[k] += x[k] * y[k];
        }
    }
    add_lanes(acc) + tail
}

/// Adds eight partial sums in the order that all kernels have.
fn add_lanes(lanes: [f32; 8]) -> f32 {
    ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_equals_the_f64_sum_within_its_bound() {
        for n in 0..67 {
            let a: Vec<f32> = (0..n).map(|i| ((i * 37 % 11) as f32 - 5.0) * 0.3).collect();
            let b: Vec<f32> = (0..n).map(|i| ((i * 53 % 17) as f32 - 8.0) * 0.7).collect();
            let exact: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
            let size: f64 = a.iter().zip(&b).map(|(x, y)| f64::from((x * y).abs())).sum();
            let bound = (n as f64 / 8.0 + 8.0) * 2f64.powi(-24) * size;
            assert!((f64::from(dot(&a, &b)) - exact).abs() <= bound, "{n}");
        }
    }
}
