//! A query against packed latents, against the definition of dot product and distance.

use super::{Kernels, PackedKernel, digest, kernels};
use crate::kernel::scalar::DIM_MAX;
use crate::store::pack::{pack, row_stride_bytes};

/// Latents \[n, D\] that use every value of `bits`, the lowest too.
fn latents(rows: usize, dim: usize, bits: u8, pattern: usize) -> Vec<i8> {
    let (lowest, count) = (-(1i32 << (bits - 1)), 1i32 << bits);
    let value = |k: usize| match pattern {
        0 => lowest,
        1 => [lowest, lowest + count - 1][k % 2],
        2 => lowest + count - 1,
        _ => lowest + (k as i32 * 7919 + 13) % count,
    };
    (0..rows * dim).map(|k| value(k) as i8).collect()
}

/// Packs `latents` as the store does, but at any stride, and with ones where nothing belongs to a row; from `start` on.
fn packed(latents: &[i8], dim: usize, bits: u8, stride_bytes: usize, start: usize) -> Vec<u8> {
    let rows = latents.len().checked_div(dim).unwrap_or(0);
    let used_bits = dim * usize::from(bits);
    let mut bytes = vec![0xff; start + rows * stride_bytes];
    for (row, latent) in latents.chunks_exact(dim.max(1)).enumerate() {
        let mut alone = Vec::new();
        pack(latent, bits, &mut alone);
        let place = &mut bytes[start + row * stride_bytes..][..used_bits.div_ceil(8)];
        place.copy_from_slice(&alone[..place.len()]);
        if !used_bits.is_multiple_of(8) {
            *place.last_mut().unwrap() |= 0xff << (used_bits % 8);
        }
    }
    bytes
}

/// By its definition, from latents that were never packed.
fn measured(query: &[i8], latents: &[i8], term: fn(i64, i64) -> i64) -> Vec<i32> {
    let of_row = |row: &[i8]| query.iter().zip(row).map(|(q, x)| term(i64::from(*q), i64::from(*x))).sum::<i64>();
    latents.chunks_exact(query.len().max(1)).map(|row| of_row(row).try_into().unwrap()).collect()
}

/// One measure by one kernel.
struct Measure {
    kernel: &'static str,
    name: &'static str,
    function: PackedKernel,
    definition: fn(i64, i64) -> i64,
}

fn measures() -> Vec<Measure> {
    let both = |k: Kernels| {
        let dot = Measure { kernel: k.name, name: "dot", function: k.packed_dots, definition: |q, x| q * x };
        let distance = Measure { kernel: k.name, name: "distance", function: k.packed_distances, definition: |q, x| (q - x) * (q - x) };
        [dot, distance]
    };
    kernels().into_iter().flat_map(both).collect()
}

#[test]
fn packed_measures_equal_their_definitions_for_all_widths_small_shapes_misaligned_starts_and_extreme_values() {
    let mut failures = Vec::new();
    for bits in 4..=8 {
        for dim in 1..68 {
            for rows in [0, 1, 2, 5] {
                for pattern in 0..4 {
                    let start = (dim + rows + pattern) % 7;
                    let exact_stride = (dim * usize::from(bits)).div_ceil(8);
                    for stride in [row_stride_bytes(dim, bits), exact_stride, exact_stride + 3] {
                        let x = latents(rows, dim, bits, pattern);
                        let bytes = packed(&x, dim, bits, stride, start);
                        let (query, mut out) = (&latents(1, dim + start, 8, 3 - pattern)[start..], vec![-1; rows]);
                        for Measure { kernel, name, function, definition } in measures() {
                            function(query, &bytes[start..], bits, stride, &mut out);
                            if out != measured(query, &x, definition) {
                                failures.push((kernel, name, bits, dim, rows, pattern, stride));
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(failures.is_empty(), "kernel, measure, bits, dim, rows, pattern, stride: {failures:?}");
}

#[test]
fn rows_without_components_are_nothing_apart() {
    for Measure { kernel, name, function, .. } in measures() {
        let mut out = [7; 3];
        function(&[], &[], 6, 0, &mut out);
        assert_eq!(out, [0; 3], "{kernel} {name}");
    }
}

#[test]
fn the_largest_distance_of_the_longest_latents_does_not_overflow() {
    let x = vec![-128; DIM_MAX];
    let bytes = packed(&x, DIM_MAX, 8, DIM_MAX, 0);
    for Measure { kernel, name, function, definition } in measures() {
        for query in [vec![127; DIM_MAX], vec![-128; DIM_MAX]] {
            let mut out = [0];
            function(&query, &bytes, 8, DIM_MAX, &mut out);
            assert_eq!(out[..], measured(&query, &x, definition), "{kernel} {name}");
        }
    }
}

#[test]
fn packed_measures_are_those_recorded_for_every_machine() {
    let (dim, rows) = (1000, 40);
    for Measure { kernel, name, function, .. } in measures() {
        let of_width = |bits| {
            let (stride, query) = (row_stride_bytes(dim, bits), latents(1, dim, 8, 3));
            let mut out = vec![0; rows];
            function(&query, &packed(&latents(rows, dim, bits, 3), dim, bits, stride, 0), bits, stride, &mut out);
            out.into_iter().map(i32::to_le_bytes)
        };
        // From tests/golden/kernels.py.
        let expected = if name == "dot" { 611_296_265 } else { 723_084_047 };
        assert_eq!(digest((4..=8).flat_map(of_width)), expected, "{kernel} {name}");
    }
}
