//! Scores of a linear head straight from a latent.

use super::{ROWS, add_lanes};

/// Scores of a linear head: `z = W q + b`, where W holds the scale of each dimension: `W_ci = w_ci s_i`.
///
/// # Shapes
/// `weights` f32 \[C, D\] row-major; `bias` f32 \[C\]; `latent` i8 \[D\]; `out` f32 \[C\]. Weights and bias are finite.
///
/// Each score has the bits of [`super::dot`] over the latent's values, plus the bias: eight partial sums in a fixed order,
/// no product fused with its sum, so the same bits by every kernel of every machine, as long as no sum overflows. The error
/// is at most `(D / 8 + 9) * 2^-24 * (sum |W_ci q_i| + |b_c|)`.
///
/// # Panics
/// When a length does not fit the shapes.
pub fn predict(weights: &[f32], bias: &[f32], latent: &[i8], out: &mut [f32]) {
    check_predict(weights, bias, latent, out);
    let dim = latent.len();
    for (block, (out, bias)) in out.chunks_mut(ROWS).zip(bias.chunks(ROWS)).enumerate() {
        // The last block goes through its last row again for each that it lacks.
        let rows: [&[f32]; ROWS] = std::array::from_fn(|r| &weights[(block * ROWS + r.min(out.len() - 1)) * dim..][..dim]);
        let mut lanes = [[0f32; 8]; ROWS];
        let (eights, rest) = latent.as_chunks::<8>();
        for (j, q) in eights.iter().enumerate() {
            let x = q.map(f32::from);
            for (lanes, row) in lanes.iter_mut().zip(rows) {
                let (eights, _) = row.as_chunks::<8>();
                for k in 0..8 {
                    lanes[k] += eights[j][k] * x[k];
                }
            }
        }
        for (((z, b), lanes), row) in out.iter_mut().zip(bias).zip(lanes).zip(rows) {
            *z = finish(lanes, &row[dim - rest.len()..], rest) + b;
        }
    }
}

/// Adds eight partial sums and the products of the components behind the last eight, in the order of [`super::dot`].
pub(in crate::kernel) fn finish(lanes: [f32; 8], weights: &[f32], latent: &[i8]) -> f32 {
    let rest: f32 = weights.iter().zip(latent).map(|(w, q)| w * f32::from(*q)).sum();
    add_lanes(lanes) + rest
}

/// Checks the shapes of a linear head.
pub(in crate::kernel) fn check_predict(weights: &[f32], bias: &[f32], latent: &[i8], out: &[f32]) {
    assert_eq!(Some(weights.len()), out.len().checked_mul(latent.len()), "weights are C x D");
    assert_eq!(bias.len(), out.len(), "one bias a class");
}
