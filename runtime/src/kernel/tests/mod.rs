//! One table tests every kernel of this machine: each against the definition of what it computes, over lengths from 0 (or
//! 1) to 67, misaligned starts and extreme values.

mod gram;
mod packed;
mod predict;

use super::scalar::{DIM_MAX, Sign};

/// The kernels of one instruction set, or the choice among them.
struct Kernels {
    name: &'static str,
    gram_update: fn(&[i8], usize, Sign, &mut [i64]),
    packed_dots: PackedKernel,
    packed_distances: PackedKernel,
    predict: PredictKernel,
}

type PackedKernel = fn(&[i8], &[u8], u8, usize, &mut [i32]);
type PredictKernel = fn(&[f32], &[f32], &[i8], &mut [f32]);

macro_rules! kernels_of {
    ($name:literal, $set:path) => {{
        use $set as set;
        Kernels {
            name: $name,
            gram_update: set::gram_update,
            packed_dots: set::packed_dots,
            packed_distances: set::packed_distances,
            predict: set::predict,
        }
    }};
}

fn kernels() -> Vec<Kernels> {
    let mut kernels = vec![kernels_of!("scalar", crate::kernel::scalar), kernels_of!("chosen", crate::kernel)];
    #[cfg(target_arch = "x86_64")]
    if crate::kernel::avx2::is_available() {
        kernels.push(kernels_of!("avx2", crate::kernel::avx2));
    }
    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
    kernels.push(kernels_of!("neon", crate::kernel::neon));
    kernels
}

/// CRC-32 of what a kernel gave, to be compared with what it gave on another machine.
fn digest(bytes: impl IntoIterator<Item = [u8; 4]>) -> u32 {
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    let mut digest = crc.digest();
    bytes.into_iter().for_each(|b| digest.update(&b));
    digest.finalize()
}

#[test]
#[cfg(target_arch = "aarch64")]
fn the_table_holds_the_neon_kernels() {
    assert!(kernels().iter().any(|k| k.name == "neon"));
}

#[test]
fn shapes_that_do_not_fit_are_refused_by_every_kernel() {
    let refused = |what: &str, kernel: &Kernels, call: &dyn Fn()| {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call));
        assert!(result.is_err(), "{} took {what}", kernel.name);
    };
    for kernel in &kernels() {
        refused("latents of another length", kernel, &|| (kernel.gram_update)(&[1; 5], 2, Sign::Add, &mut [0; 3]));
        refused("a short triangle", kernel, &|| (kernel.gram_update)(&[1; 4], 2, Sign::Add, &mut [0; 2]));
        for packed in [kernel.packed_dots, kernel.packed_distances] {
            refused("3 bits", kernel, &|| packed(&[1; 8], &[0; 16], 3, 16, &mut [0; 1]));
            refused("9 bits", kernel, &|| packed(&[1; 8], &[0; 16], 9, 16, &mut [0; 1]));
            refused("a stride below a row", kernel, &|| packed(&[1; 16], &[0; 64], 8, 15, &mut [0; 2]));
            refused("a last row cut short", kernel, &|| packed(&[1; 16], &[0; 31], 8, 16, &mut [0; 2]));
            refused("too many components", kernel, &|| packed(&[1; DIM_MAX + 1], &[0; 17_000], 4, 16_501, &mut [0; 1]));
        }
        refused("a short row of weights", kernel, &|| (kernel.predict)(&[1.0; 15], &[0.0; 2], &[1; 8], &mut [0.0; 2]));
        refused("a missing bias", kernel, &|| (kernel.predict)(&[1.0; 16], &[0.0; 1], &[1; 8], &mut [0.0; 2]));
    }
}
