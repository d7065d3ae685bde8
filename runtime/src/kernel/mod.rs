//! The few hot loops. [`scalar`] is the oracle: plain loops over slices, shaped so that the compiler vectorises them. The
//! others are for one instruction set each, are chosen at run time, and give the same integers.

#[cfg(target_arch = "x86_64")]
pub mod avx2;
pub mod scalar;

use scalar::Sign;

/// [`scalar::gram_update`] by the fastest kernel that this processor has.
///
/// # Panics
/// When a length does not fit the shapes.
pub fn gram_update(latents: &[i8], dim: usize, sign: Sign, gram: &mut [i64]) {
    // A row alone is no faster there: all time goes into reading and writing the matrix.
    #[cfg(target_arch = "x86_64")]
    if latents.len() > dim && avx2::is_available() {
        return avx2::gram_update(latents, dim, sign, gram);
    }
    scalar::gram_update(latents, dim, sign, gram);
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
