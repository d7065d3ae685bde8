//! A query against packed latents, and the scores of a linear head, by each kernel of this machine.
//!
//! `cargo bench -p wheatear --bench kernels`; `-- predict` for one of them. Packed rows are [`ROWS`], at the store's stride:
//! up to 2 MiB, which the second-level cache of a desktop holds and that of a small board does not.

use divan::Bencher;
use divan::counter::BytesCount;
use wheatear::kernel::{self, scalar};
use wheatear::store::pack::{pack, row_stride_bytes};

/// Shows that no kernel here allocates.
#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

const ROWS: usize = 1024;
const BITS: [u8; 5] = [4, 5, 6, 7, 8];
const CLASSES: [usize; 5] = [2, 10, 20, 100, 1000];

fn main() {
    divan::main();
}

fn latent(dim: usize, bits: u8) -> Vec<i8> {
    let most = (1usize << (bits - 1)) - 1;
    (0..dim).map(|k| ((k * 7919 + 13) % (2 * most + 1)) as i8 - most as i8).collect()
}

fn packed<const DIM: usize>(bencher: Bencher, bits: u8, kernel: fn(&[i8], &[u8], u8, usize, &mut [i32])) {
    let mut rows = Vec::new();
    (0..ROWS).for_each(|_| pack(&latent(DIM, bits), bits, &mut rows));
    let (query, stride, mut out) = (latent(DIM, 8), row_stride_bytes(DIM, bits), vec![0; ROWS]);
    let bencher = bencher.counter(BytesCount::new(rows.len()));
    bencher.bench_local(|| kernel(&query, &rows, bits, stride, &mut out));
}

#[divan::bench(args = BITS, consts = [96, 512, 1024, 2048])]
fn dots<const DIM: usize>(bencher: Bencher, bits: u8) {
    packed::<DIM>(bencher, bits, kernel::packed_dots);
}

#[divan::bench(args = BITS, consts = [96, 512, 1024, 2048])]
fn distances<const DIM: usize>(bencher: Bencher, bits: u8) {
    packed::<DIM>(bencher, bits, kernel::packed_distances);
}

#[divan::bench(args = BITS, consts = [1024])]
fn dots_scalar<const DIM: usize>(bencher: Bencher, bits: u8) {
    packed::<DIM>(bencher, bits, scalar::packed_dots);
}

#[divan::bench(args = BITS, consts = [1024])]
fn distances_scalar<const DIM: usize>(bencher: Bencher, bits: u8) {
    packed::<DIM>(bencher, bits, scalar::packed_distances);
}

type Predict = fn(&[f32], &[f32], &[i8], &mut [f32]);

fn scores<const DIM: usize>(bencher: Bencher, classes: usize, kernel: Predict) {
    let number = |k: usize| ((k * 7919 + 13) % 2003) as f32 / 37.0 - 27.0;
    let weights: Vec<f32> = (0..classes * DIM).map(number).collect();
    let bias: Vec<f32> = (0..classes).map(number).collect();
    let (latent, mut out) = (latent(DIM, 8), vec![0.0; classes]);
    bencher.bench_local(|| kernel(&weights, &bias, &latent, &mut out));
}

#[divan::bench(args = CLASSES, consts = [96, 512, 1024, 2048])]
fn predict<const DIM: usize>(bencher: Bencher, classes: usize) {
    scores::<DIM>(bencher, classes, kernel::predict);
}

#[divan::bench(args = CLASSES, consts = [1024])]
fn predict_scalar<const DIM: usize>(bencher: Bencher, classes: usize) {
    scores::<DIM>(bencher, classes, scalar::predict);
}
