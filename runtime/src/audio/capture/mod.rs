//! Live sound: a microphone's samples, as the device gives them, become blocks of mono samples that one reader takes.
//!
//! The way of a sample: the device calls back ([`microphone`]), the callback converts ([`convert`]) straight into a bounded
//! ring ([`ring`]) and does nothing else (of ALSA's plugins, whose thread would ask again and again, it also rests until the next block:
//! `block`); the reader takes blocks out, each with its place among all frames and its time, and
//! may have its loudness watched ([`level`]). Which microphones there are is [`devices`]' matter. What is lost is counted and
//! told, wherever it is lost. Limits: one stream a microphone, no playback, no echo cancelling.

mod block;
pub mod convert;
pub mod devices;
pub mod feed;
pub mod level;
pub mod microphone;
mod retry;
pub mod ring;
pub mod settings;
pub mod told;

pub use convert::Channel;
pub use devices::{Input, InputFormat, inputs};
pub use microphone::{Counting, Microphone, Running};
pub use ring::{BlockHeader, Reader};
pub use settings::{Duty, MicrophoneSettings};
pub use told::{CaptureCounts, CaptureEvent};
