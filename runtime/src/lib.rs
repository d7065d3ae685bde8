//! Wheatear: on-device adaptation. A frozen ONNX backbone turns windows of audio into embeddings; a small adapter
//! learns new classes from them, one label at a time, without forgetting the old ones.

pub mod audio;
pub mod backbone;
pub mod calibration;
pub mod error;
pub mod features;
pub mod latent;
pub mod pipeline;

pub use error::{Error, ErrorKind, Result};
