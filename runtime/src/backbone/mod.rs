//! The frozen backbone: its manifest, the session that runs it, and the library that the session needs.

pub mod library;
pub mod manifest;
pub mod probe;
pub mod session;
pub mod telemetry;

use crate::Result;
use manifest::GraphInput;

/// What turns one window into one embedding. ONNX Runtime is one ([`session::OrtBackbone`]); tests bring their own.
pub trait Backbone: Send {
    /// What the graph takes: the normalised samples of a window, or its features.
    fn input(&self) -> GraphInput;

    /// Number of input values of a window.
    fn input_len(&self) -> usize;

    /// Number of components D of an embedding.
    fn dim(&self) -> usize;

    /// Computes the raw embedding of one window, before the manifest's scaling.
    ///
    /// # Shapes
    /// `input` \[[`Backbone::input_len`]\], `embedding` \[D\].
    ///
    /// # Errors
    /// `Backbone` when the graph fails; the next window may be tried.
    fn embed(&mut self, input: &[f32], embedding: &mut [f32]) -> Result<()>;
}
