//! The few hot loops. [`scalar`] is the oracle: plain loops over slices, shaped so that the compiler vectorises them. The
//! others are for one instruction set each, are chosen at run time, and give the same integers, or the same bits of a float.

#[cfg(target_arch = "x86_64")]
pub mod avx2;
#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon")))]
mod fields;
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
pub mod neon;
pub mod scalar;
#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon")))]
mod triangle;

use scalar::Sign;

/// Calls a kernel of the best instruction set that this processor has.
macro_rules! fastest {
    ($kernel:ident($($argument:expr),*)) => {{
        #[cfg(target_arch = "x86_64")]
        if avx2::is_available() {
            return avx2::$kernel($($argument),*);
        }
        #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
        return neon::$kernel($($argument),*);
        #[cfg(not(all(target_arch = "aarch64", target_feature = "neon")))]
        scalar::$kernel($($argument),*)
    }};
}

/// [`scalar::gram_update`] by the fastest kernel that this processor has.
///
/// # Panics
/// When a length does not fit the shapes.
pub fn gram_update(latents: &[i8], dim: usize, sign: Sign, gram: &mut [i64]) {
    fastest!(gram_update(latents, dim, sign, gram))
}

/// [`scalar::packed_dots`] by the fastest kernel that this processor has.
///
/// # Panics
/// When a length does not fit the shapes.
pub fn packed_dots(query: &[i8], rows: &[u8], bits: u8, stride_bytes: usize, out: &mut [i32]) {
    fastest!(packed_dots(query, rows, bits, stride_bytes, out))
}

/// [`scalar::packed_distances`] by the fastest kernel that this processor has.
///
/// # Panics
/// When a length does not fit the shapes.
pub fn packed_distances(query: &[i8], rows: &[u8], bits: u8, stride_bytes: usize, out: &mut [i32]) {
    fastest!(packed_distances(query, rows, bits, stride_bytes, out))
}

/// [`scalar::predict`] by the fastest kernel that this processor has.
///
/// # Panics
/// When a length does not fit the shapes.
pub fn predict(weights: &[f32], bias: &[f32], latent: &[i8], out: &mut [f32]) {
    fastest!(predict(weights, bias, latent, out))
}

#[cfg(test)]
mod tests;
