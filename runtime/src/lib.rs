//! Wheatear: on-device adaptation. A frozen ONNX backbone turns windows of audio into embeddings; a small adapter
//! learns new classes from them, one label at a time, without forgetting the old ones.

pub mod audio;
pub mod backbone;
pub mod board;
pub mod calibration;
pub mod clock;
pub mod config;
#[cfg(feature = "capture")]
pub mod daemon;
pub mod error;
pub mod event;
pub mod features;
pub mod head;
pub mod kernel;
pub mod latent;
pub mod learn;
pub mod learner;
pub mod live;
mod mix;
pub mod monitor;
pub mod pipeline;
pub mod random;
#[cfg(feature = "serve")]
pub mod serve;
#[cfg(feature = "service")]
pub mod service;
#[cfg(feature = "sinks")]
pub mod sinks;
pub mod store;
pub mod units;

pub use error::{Error, ErrorKind, Result};
