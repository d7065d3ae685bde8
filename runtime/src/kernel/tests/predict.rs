//! Scores of a linear head, against the dot product they are defined by and against a sum in f64.

use super::{digest, kernels};
use crate::kernel::scalar::dot;

/// Numbers of many magnitudes, both signs and both zeros.
fn numbers(count: usize, pattern: usize) -> Vec<f32> {
    let value = |k: usize| match pattern {
        0 => [0.0, -0.0][k % 2],
        1 => [f32::MIN_POSITIVE, -3.1e-40, 1.7e-38][k % 3],
        2 => [1.0e30, -1.0, 3.0e-30, -9.9e29][k % 4],
        _ => ((k * 7919 + 13) % 2003) as f32 / 37.0 - 27.0,
    };
    (0..count).map(value).collect()
}

fn latent(dim: usize, pattern: usize) -> Vec<i8> {
    let value = |k: usize| match pattern {
        0 => -128,
        1 => [127, -127][k % 2],
        _ => ((k * 7919 + 13) % 256) as u8 as i8,
    };
    (0..dim).map(value).collect()
}

#[test]
fn scores_have_the_bits_of_the_dot_product_for_all_small_shapes_misaligned_starts_and_extreme_values() {
    let mut failures = Vec::new();
    for dim in 0..68 {
        for classes in [0, 1, 2, 3, 4, 5, 7, 8, 9, 13, 23] {
            for pattern in 0..4 {
                let start = (dim + classes + pattern) % 7;
                let weights = &numbers(start + classes * dim, pattern)[start..];
                let bias = &numbers(start + classes, 3 - pattern)[start..];
                let latent = &latent(start + dim, pattern)[start..];
                let values: Vec<f32> = latent.iter().map(|q| f32::from(*q)).collect();
                let row = |c: usize| &weights[c * dim..(c + 1) * dim];
                let expected: Vec<u32> = (0..classes).map(|c| (dot(row(c), &values) + bias[c]).to_bits()).collect();
                for kernel in kernels() {
                    let mut out = vec![f32::NAN; classes];
                    (kernel.predict)(weights, bias, latent, &mut out);
                    if !out.iter().map(|z| z.to_bits()).eq(expected.iter().copied()) {
                        failures.push((kernel.name, dim, classes, pattern));
                    }
                }
            }
        }
    }
    assert!(failures.is_empty(), "kernel, dim, classes, pattern: {failures:?}");
}

#[test]
fn scores_are_within_their_bound_of_a_sum_in_f64() {
    for dim in [1, 7, 8, 67, 1024] {
        let (weights, bias, q) = (numbers(5 * dim, 3), numbers(5, 3), latent(dim, 2));
        for kernel in kernels() {
            let mut out = [0.0; 5];
            (kernel.predict)(&weights, &bias, &q, &mut out);
            for (c, z) in out.into_iter().enumerate() {
                let products = || weights[c * dim..].iter().zip(&q).map(|(w, q)| f64::from(*w) * f64::from(*q));
                let exact = products().sum::<f64>() + f64::from(bias[c]);
                let size = products().map(f64::abs).sum::<f64>() + f64::from(bias[c].abs());
                let bound = (dim as f64 / 8.0 + 9.0) * 2f64.powi(-24) * size;
                assert!((f64::from(z) - exact).abs() <= bound, "{} {dim} {c}", kernel.name);
            }
        }
    }
}

#[test]
fn scores_have_the_bits_recorded_for_every_machine() {
    let (dim, classes) = (1003, 37);
    for kernel in kernels() {
        let mut out = vec![0.0; classes];
        (kernel.predict)(&numbers(classes * dim, 3), &numbers(classes, 3), &latent(dim, 2), &mut out);
        // From tests/golden/kernels.py.
        assert_eq!(digest(out.into_iter().map(f32::to_le_bytes)), 3_720_562_719, "{}", kernel.name);
    }
}
