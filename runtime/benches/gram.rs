//! The rank-k update of the Gram matrix, by each kernel of this machine.
//!
//! `cargo bench -p wheatear --bench gram`. A row and k rows cost the same up to the point where the products outweigh reading
//! and writing the matrix, so rows are better learned together.

use divan::Bencher;
use wheatear::kernel::{self, scalar, scalar::Sign};

const ROWS: [usize; 3] = [1, 8, 32];

fn main() {
    divan::main();
}

fn update<const DIM: usize>(bencher: Bencher, rows: usize, kernel: fn(&[i8], usize, Sign, &mut [i64])) {
    let latents: Vec<i8> = (0..rows * DIM).map(|k| ((k * 7919 + 13) % 255) as u8 as i8).map(|q| q.max(-127)).collect();
    let mut gram = vec![0i64; DIM * (DIM + 1) / 2];
    bencher.bench_local(|| kernel(&latents, DIM, Sign::Add, &mut gram));
}

#[divan::bench(args = ROWS, consts = [96, 512, 1024, 2048])]
fn chosen<const DIM: usize>(bencher: Bencher, rows: usize) {
    update::<DIM>(bencher, rows, kernel::gram_update);
}

#[divan::bench(args = ROWS, consts = [96, 512, 1024, 2048])]
fn scalar<const DIM: usize>(bencher: Bencher, rows: usize) {
    update::<DIM>(bencher, rows, scalar::gram_update);
}
