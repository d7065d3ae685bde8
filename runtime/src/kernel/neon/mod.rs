//! NEON: the same results as [`super::scalar`], bit by bit.
//!
//! Built only for targets whose every processor has NEON, as 64-bit ARM Linux is: there is nothing to ask at run time. Loads
//! and stores take references to arrays, so that their bounds are part of the type.

mod gram;
mod packed;
mod predict;

use std::arch::aarch64::{
    float32x4_t, int16x8_t, int32x4_t, int64x2_t, uint8x16_t, vld1q_f32, vld1q_s16, vld1q_s64, vld1q_u8, vst1q_f32, vst1q_s32, vst1q_s64,
};

pub use gram::gram_update;
pub use packed::{packed_distances, packed_dots};
pub use predict::predict;

#[target_feature(enable = "neon")]
#[inline]
fn load_u8(lanes: &[u8; 16]) -> uint8x16_t {
    // SAFETY: the reference is to 16 readable bytes, all of which are loaded.
    unsafe { vld1q_u8(lanes.as_ptr()) }
}

#[target_feature(enable = "neon")]
#[inline]
fn load_i16(lanes: &[i16; 8]) -> int16x8_t {
    // SAFETY: the reference is to 8 readable i16, all of which are loaded.
    unsafe { vld1q_s16(lanes.as_ptr()) }
}

#[target_feature(enable = "neon")]
#[inline]
fn load_i64(lanes: &[i64; 2]) -> int64x2_t {
    // SAFETY: the reference is to 2 readable i64, both of which are loaded.
    unsafe { vld1q_s64(lanes.as_ptr()) }
}

#[target_feature(enable = "neon")]
#[inline]
fn load_f32(lanes: &[f32; 4]) -> float32x4_t {
    // SAFETY: the reference is to 4 readable f32, all of which are loaded.
    unsafe { vld1q_f32(lanes.as_ptr()) }
}

#[target_feature(enable = "neon")]
#[inline]
fn store_i32(lanes: &mut [i32; 4], value: int32x4_t) {
    // SAFETY: the reference is to 4 writable i32 that nothing else refers to.
    unsafe { vst1q_s32(lanes.as_mut_ptr(), value) }
}

#[target_feature(enable = "neon")]
#[inline]
fn store_i64(lanes: &mut [i64; 2], value: int64x2_t) {
    // SAFETY: the reference is to 2 writable i64 that nothing else refers to.
    unsafe { vst1q_s64(lanes.as_mut_ptr(), value) }
}

#[target_feature(enable = "neon")]
#[inline]
fn store_f32(lanes: &mut [f32; 4], value: float32x4_t) {
    // SAFETY: the reference is to 4 writable f32 that nothing else refers to.
    unsafe { vst1q_f32(lanes.as_mut_ptr(), value) }
}
