//! AVX2: the same results as [`super::scalar`], bit by bit.
//!
//! Loads and stores take references to arrays, so that their bounds are part of the type. Each public function asserts that
//! the processor has AVX2 before it calls code compiled for it.

mod gram;
mod packed;
mod predict;

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_loadl_epi64, _mm_loadu_si128, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_storeu_ps, _mm256_storeu_si256,
};

pub use gram::gram_update;
pub use packed::{packed_distances, packed_dots};
pub use predict::predict;

/// True when the processor has it.
pub fn is_available() -> bool {
    is_x86_feature_detected!("avx2")
}

fn assert_available() {
    assert!(is_available(), "this processor has no AVX2");
}

#[target_feature(enable = "avx2")]
#[inline]
fn load_i32(lanes: &[i32; 8]) -> __m256i {
    // SAFETY: the reference is to 32 readable bytes, all of which are loaded; no alignment is asked for.
    unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn store_i32(lanes: &mut [i32; 8], value: __m256i) {
    // SAFETY: the reference is to 32 writable bytes that nothing else refers to; no alignment is asked for.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), value) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn load_i64(lanes: &[i64; 4]) -> __m256i {
    // SAFETY: the reference is to 32 readable bytes, all of which are loaded; no alignment is asked for.
    unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn store_i64(lanes: &mut [i64; 4], value: __m256i) {
    // SAFETY: the reference is to 32 writable bytes that nothing else refers to; no alignment is asked for.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), value) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn load_i16(lanes: &[i16; 16]) -> __m256i {
    // SAFETY: the reference is to 32 readable bytes, all of which are loaded; no alignment is asked for.
    unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn load_16_bytes(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: the reference is to 16 readable bytes, all of which are loaded; no alignment is asked for.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn load_32_bytes(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: the reference is to 32 readable bytes, all of which are loaded; no alignment is asked for.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn load_8_latents(latents: &[i8; 8]) -> __m128i {
    // SAFETY: the reference is to 8 readable bytes, which are loaded into the low half; no alignment is asked for.
    unsafe { _mm_loadl_epi64(latents.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn load_16_latents(latents: &[i8; 16]) -> __m128i {
    // SAFETY: the reference is to 16 readable bytes, all of which are loaded; no alignment is asked for.
    unsafe { _mm_loadu_si128(latents.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn load_f32(lanes: &[f32; 8]) -> __m256 {
    // SAFETY: the reference is to 32 readable bytes, all of which are loaded; no alignment is asked for.
    unsafe { _mm256_loadu_ps(lanes.as_ptr()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn store_f32(lanes: &mut [f32; 8], value: __m256) {
    // SAFETY: the reference is to 32 writable bytes that nothing else refers to; no alignment is asked for.
    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), value) }
}
