//! How many rows a recording gave when it was taught: its windows that are not silent, for which no graph is needed.

use std::path::Path;

use wheatear::Result;
use wheatear::backbone::Backbone;
use wheatear::backbone::manifest::{GraphInput, Manifest};
use wheatear::pipeline::Embedder;

/// In place of a graph: every embedding is zeros.
struct NoGraph {
    window_samples: usize,
    dim: usize,
}

impl Backbone for NoGraph {
    fn input(&self) -> GraphInput {
        GraphInput::Waveform
    }

    fn input_len(&self) -> usize {
        self.window_samples
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn embed(&mut self, _input: &[f32], embedding: &mut [f32]) -> Result<()> {
        embedding.fill(0.0);
        Ok(())
    }
}

/// Counts the rows of recordings as a backbone's windows give them.
pub struct Counter {
    embedder: Embedder,
    silence: f32,
}

impl Counter {
    /// A counter for the backbone of `manifest`.
    ///
    /// # Errors
    /// As [`Embedder::new`].
    pub fn new(manifest: &Manifest) -> Result<Counter> {
        let graph = NoGraph { window_samples: manifest.audio.window_samples as usize, dim: manifest.embedding.dim as usize };
        let embedder = Embedder::new(manifest.clone(), Box::new(graph), manifest.audio.rate_hz)?;
        Ok(Counter { embedder, silence: manifest.silence_peak() })
    }

    /// Rows that the file gives.
    ///
    /// # Errors
    /// As [`Embedder::embed_file`].
    pub fn rows_of(&mut self, path: &Path) -> Result<u64> {
        let (mut rows, silence) = (0, self.silence);
        let summary = self.embedder.embed_file(path, &mut |w| {
            rows += u64::from(w.peak >= silence);
            Ok(())
        })?;
        debug_assert!(rows <= summary.windows);
        Ok(rows)
    }
}
