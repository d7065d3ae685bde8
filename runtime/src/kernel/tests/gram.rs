//! The rank-k update of the Gram matrix against its definition.

use super::kernels;
use crate::kernel::scalar::{CHUNK_ROWS_MAX, Sign};

/// By its definition.
fn gram(latents: &[i8], dim: usize) -> Vec<i64> {
    let product = |i: usize, j: usize| latents.chunks(dim).map(|q| i64::from(q[i]) * i64::from(q[j])).sum();
    (0..dim).flat_map(|i| (i..dim).map(move |j| product(i, j))).collect()
}

fn latents(count: usize, pattern: usize) -> Vec<i8> {
    let value = |k: usize| match pattern {
        0 => 127,
        1 => [-127, 127][k % 2],
        _ => ((k * 7919 + 13) % 255) as u8 as i8,
    };
    (0..count).map(|k| value(k).max(-127)).collect()
}

#[test]
fn gram_equals_the_definition_for_all_small_shapes_misaligned_starts_and_extreme_values() {
    let mut failures = Vec::new();
    for dim in 1..68 {
        for rows in [0usize, 1, 2, 3, 7, 32] {
            for pattern in 0..3 {
                let start = (dim + rows + pattern) % 7;
                let q = &latents(rows * dim + start, pattern)[start..];
                let (expected, before) = (gram(q, dim), [-3, i64::MAX >> 9, 5]);
                for kernel in kernels() {
                    let mut g: Vec<i64> = (0..start + expected.len()).map(|k| before[k % 3]).collect();
                    let untouched = g.clone();
                    (kernel.gram_update)(q, dim, Sign::Add, &mut g[start..]);
                    let sums = g[start..].iter().zip(&untouched[start..]).map(|(g, b)| g - b);
                    if !sums.eq(expected.iter().copied()) {
                        failures.push((kernel.name, dim, rows, pattern));
                    }
                    (kernel.gram_update)(q, dim, Sign::Subtract, &mut g[start..]);
                    assert_eq!(g, untouched, "{} {dim} {rows} {pattern}", kernel.name);
                }
            }
        }
    }
    assert!(failures.is_empty(), "kernel, dim, rows, pattern: {failures:?}");
}

#[test]
fn gram_crosses_tile_borders() {
    for dim in [255, 256, 257, 515] {
        let q = latents(5 * dim, 2);
        for kernel in kernels() {
            let mut g = vec![0; dim * (dim + 1) / 2];
            (kernel.gram_update)(&q, dim, Sign::Add, &mut g);
            assert!(g == gram(&q, dim), "{} {dim}", kernel.name);
        }
    }
}

#[test]
fn the_largest_chunk_does_not_overflow_i32() {
    let q = vec![-127i8; CHUNK_ROWS_MAX * 2];
    for kernel in kernels() {
        let mut g = vec![0; 3];
        (kernel.gram_update)(&q, 2, Sign::Add, &mut g);
        assert_eq!(g, [16_129 * CHUNK_ROWS_MAX as i64; 3], "{}", kernel.name);
    }
}
