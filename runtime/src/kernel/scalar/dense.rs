//! f32 vectors against rows of f32: several rows are gone through together, since a single dot product waits for its own sums.
//! Each row has the bits of [`super::dot`]. Plain code for every instruction set: the sums of four rows fill the registers, and
//! what bounds it is the memory that the rows come from.

use super::{ROWS, add_lanes};

/// Scores of a linear head: `z = W x + b`.
///
/// # Shapes
/// `weights` f32 \[C, D\] row-major; `bias` f32 \[C\]; `x` f32 \[D\]; `out` f32 \[C\].
///
/// # Panics
/// When a length does not fit the shapes.
pub fn scores(weights: &[f32], bias: &[f32], x: &[f32], out: &mut [f32]) {
    assert_eq!(Some(weights.len()), out.len().checked_mul(x.len()), "weights are C x D");
    assert_eq!(bias.len(), out.len(), "one bias a class");
    let eights = x.len() / 8;
    for (block, (out, bias)) in out.chunks_mut(ROWS).zip(bias.chunks(ROWS)).enumerate() {
        // The last block goes through its last row again for each that it lacks.
        let rows: [&[f32]; ROWS] = std::array::from_fn(|r| &weights[(block * ROWS + r.min(out.len() - 1)) * x.len()..][..x.len()]);
        let lanes = lanes(rows, x, eights);
        for (((z, b), lanes), row) in out.iter_mut().zip(bias).zip(lanes).zip(rows) {
            *z = finish(lanes, row, x, eights) + b;
        }
    }
}

/// `|R x|^2` for a lower triangle R: the sum of the squares, in f64, of the dot products of its rows with the start of `x`.
///
/// # Shapes
/// `triangle` f32, rows of 1, 2, .. D one behind another; `x` f32 \[D\].
///
/// # Panics
/// When a length does not fit the shapes.
pub fn triangle_square(triangle: &[f32], x: &[f32]) -> f64 {
    assert_eq!(triangle.len(), x.len() * (x.len() + 1) / 2, "a triangle of D rows");
    let row = |i: usize| &triangle[i * (i + 1) / 2..][..=i];
    let mut square = 0f64;
    for first in (0..x.len()).step_by(ROWS) {
        let count = ROWS.min(x.len() - first);
        let rows: [&[f32]; ROWS] = std::array::from_fn(|r| row(first + r.min(count - 1)));
        // What all of them have in whole eights; at most one of them has one more.
        let eights = (first + 1) / 8;
        for (lanes, row) in lanes(rows, x, eights).into_iter().zip(rows).take(count) {
            let y = f64::from(finish(lanes, row, x, eights));
            square += y * y;
        }
    }
    square
}

/// The partial sums of four rows over the first `eights` eights.
fn lanes(rows: [&[f32]; ROWS], x: &[f32], eights: usize) -> [[f32; 8]; ROWS] {
    let x = &x.as_chunks::<8>().0[..eights];
    let rows = rows.map(|row| &row.as_chunks::<8>().0[..eights]);
    let mut lanes = [[0f32; 8]; ROWS];
    for (j, x) in x.iter().enumerate() {
        for (lanes, row) in lanes.iter_mut().zip(rows) {
            for k in 0..8 {
                lanes[k] += row[j][k] * x[k];
            }
        }
    }
    lanes
}

/// The rest of a row behind its first `eights` eights, added as [`super::dot`] does.
fn finish(mut lanes: [f32; 8], row: &[f32], x: &[f32], eights: usize) -> f32 {
    let (row, x) = (&row[8 * eights..], &x[8 * eights..]);
    let (row_eights, row_rest) = row.as_chunks::<8>();
    for (row, x) in row_eights.iter().zip(x.as_chunks::<8>().0) {
        for k in 0..8 {
            lanes[k] += row[k] * x[k];
        }
    }
    let rest: f32 = row_rest.iter().zip(&x[8 * row_eights.len()..]).map(|(a, b)| a * b).sum();
    add_lanes(lanes) + rest
}

#[cfg(test)]
mod tests {
    use super::super::dot;
    use super::*;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|k| (((k + seed) * 7919 + 13) % 2003) as f32 / 37.0 - 27.0).collect()
    }

    #[test]
    fn scores_have_the_bits_of_the_dot_product_for_all_small_shapes() {
        for dim in 1..68 {
            for classes in [0, 1, 2, 3, 4, 5, 7, 8, 9, 23] {
                let (weights, bias, x) = (numbers(classes * dim, 1), numbers(classes, 2), numbers(dim, 3));
                let mut out = vec![f32::NAN; classes];
                scores(&weights, &bias, &x, &mut out);
                let expected = weights.chunks_exact(dim).zip(&bias).map(|(w, b)| (dot(w, &x) + b).to_bits());
                assert!(out.iter().map(|z| z.to_bits()).eq(expected), "{dim} {classes}");
            }
        }
    }

    #[test]
    fn the_square_under_a_triangle_has_the_bits_of_its_rows_one_by_one() {
        for dim in 0..140 {
            let (triangle, x) = (numbers(dim * (dim + 1) / 2, 1), numbers(dim, 3));
            let row = |i: usize| f64::from(dot(&triangle[i * (i + 1) / 2..][..=i], &x[..=i]));
            let expected = (0..dim).map(|i| row(i) * row(i)).fold(0.0, |sum, y| sum + y);
            assert_eq!(triangle_square(&triangle, &x).to_bits(), expected.to_bits(), "{dim}");
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let refused = |call: fn()| assert!(std::panic::catch_unwind(call).is_err());
        refused(|| scores(&[1.0; 15], &[0.0; 2], &[1.0; 8], &mut [0.0; 2]));
        refused(|| scores(&[1.0; 16], &[0.0; 1], &[1.0; 8], &mut [0.0; 2]));
        refused(|| _ = triangle_square(&[1.0; 35], &[1.0; 8]));
    }
}
