//! The rank-k update of the Gram matrix, by each kernel of this machine, and the machine's peak for it.
//!
//! `cargo bench -p wheatear --bench gram`. The share of the peak is the larger of `peak_products` and `peak_memory`, divided
//! by `chosen`, for the same D and rows. A row and k rows cost the same up to the point where the products outweigh reading
//! and writing the matrix, so rows are better learned together.

use std::hint::black_box;

use divan::Bencher;
use wheatear::kernel::{self, scalar, scalar::Sign};

const ROWS: [usize; 3] = [1, 8, 32];

fn main() {
    divan::main();
}

fn triangle(dim: usize) -> usize {
    dim * (dim + 1) / 2
}

fn update<const DIM: usize>(bencher: Bencher, rows: usize, kernel: fn(&[i8], usize, Sign, &mut [i64])) {
    let latents: Vec<i8> = (0..rows * DIM).map(|k| ((k * 7919 + 13) % 255) as u8 as i8).map(|q| q.max(-127)).collect();
    let mut gram = vec![0i64; triangle(DIM)];
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

/// The products of the triangle alone, each multiplied and added in registers, with nothing loaded or stored.
#[divan::bench(args = ROWS, consts = [96, 512, 1024, 2048])]
fn peak_products<const DIM: usize>(bencher: Bencher, rows: usize) {
    bencher.bench_local(|| registers::multiply_adds(triangle(DIM) * rows));
}

/// The matrix alone, read and written once.
#[divan::bench(consts = [96, 512, 1024, 2048])]
fn peak_memory<const DIM: usize>(bencher: Bencher) {
    let mut gram = vec![0i64; triangle(DIM)];
    bencher.bench_local(|| {
        let one = black_box(1);
        gram.iter_mut().for_each(|g| *g += one);
    });
}

/// As many sums as registers hold, so that none waits for another.
const SUMS: usize = 7;

#[cfg(target_arch = "x86_64")]
mod registers {
    use super::{SUMS, black_box};
    use std::arch::x86_64::{_mm256_add_epi32, _mm256_extract_epi32, _mm256_madd_epi16, _mm256_set1_epi32, _mm256_setzero_si256};

    /// At least `count` products of 16 bits, by instructions of sixteen.
    pub fn multiply_adds(count: usize) {
        assert!(wheatear::kernel::avx2::is_available(), "measured for AVX2 only");
        // SAFETY: the processor has AVX2, as was just asserted; nothing else is asked of the caller.
        black_box(unsafe { run(count.div_ceil(16 * SUMS)) });
    }

    #[target_feature(enable = "avx2")]
    fn run(steps: usize) -> i32 {
        let columns: [_; SUMS] = std::array::from_fn(|k| _mm256_set1_epi32(black_box(5 + k as i32)));
        let component = _mm256_set1_epi32(black_box(3));
        let mut sums = [_mm256_setzero_si256(); SUMS];
        for _ in 0..steps {
            let component = black_box(component);
            for (sum, columns) in sums.iter_mut().zip(columns) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(component, columns));
            }
        }
        sums.into_iter().fold(0, |all, sum| all ^ _mm256_extract_epi32::<0>(sum))
    }
}

#[cfg(target_arch = "aarch64")]
mod registers {
    use super::{SUMS, black_box};
    use std::arch::aarch64::{vaddvq_s32, vdup_n_s16, vdupq_n_s32, vmlal_s16};

    /// At least `count` products of 16 bits, by instructions of four.
    pub fn multiply_adds(count: usize) {
        let columns: [_; SUMS] = std::array::from_fn(|k| vdup_n_s16(black_box(5 + k as i16)));
        let component = vdup_n_s16(black_box(3));
        let mut sums = [vdupq_n_s32(0); SUMS];
        for _ in 0..count.div_ceil(4 * SUMS) {
            let component = black_box(component);
            for (sum, columns) in sums.iter_mut().zip(columns) {
                *sum = vmlal_s16(*sum, component, columns);
            }
        }
        black_box(sums.into_iter().fold(0, |all, sum| all ^ vaddvq_s32(sum)));
    }
}
