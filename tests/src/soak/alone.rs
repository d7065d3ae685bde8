//! What a backbone takes by itself: a process that loads ONNX Runtime and the graph, runs it, and does nothing else.

use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use wheatear::backbone::Backbone;
use wheatear::backbone::manifest::Manifest;
use wheatear::backbone::session::{OrtBackbone, SessionOptions};
use wheatear::{Error, ErrorKind, Result};

use super::process::HEAP;
use crate::usage::Usage;

/// What it took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Alone {
    /// Resident memory after the last window, in KiB.
    pub rss_kib: u64,
    /// The most that it ever was.
    pub peak_kib: u64,
    /// Wall time of a window, in ms.
    pub window_ms: f64,
    /// Dimension D.
    pub dim: usize,
}

/// Runs the backbone in `folder` on `windows` windows.
///
/// # Errors
/// As [`OrtBackbone::load`] and [`Backbone::embed`].
pub fn run(folder: &Path, windows: u32) -> Result<Alone> {
    let (manifest, folder) = Manifest::load(folder)?;
    let mut backbone = OrtBackbone::load(&manifest, &folder, None, &SessionOptions::default())?;
    let input: Vec<f32> = (0..backbone.input_len()).map(|i| (i * 7919 % 1000) as f32 * 1e-3).collect();
    let mut embedding = vec![0.0; backbone.dim()];
    let begun = Instant::now();
    for _ in 0..windows {
        backbone.embed(&input, &mut embedding)?;
    }
    let window_ms = begun.elapsed().as_secs_f64() * 1e3 / f64::from(windows.max(1));
    let Usage { rss_kib, peak_kib, .. } = Usage::of(std::process::id())?;
    Ok(Alone { rss_kib, peak_kib, window_ms, dim: backbone.dim() })
}

/// Runs it in a process of its own, made of this program.
///
/// # Errors
/// `Storage` when it cannot be started, `Backbone` when it fails.
pub fn in_a_process(folder: &Path, windows: u32) -> Result<Alone> {
    let this = std::env::current_exe().map_err(|e| Error::io("find", "this program", e))?;
    let mut alone = std::process::Command::new(&this);
    alone.arg("backbone").arg(folder).arg(windows.to_string()).envs(HEAP);
    let output = alone.output().map_err(|e| Error::io("start", &this, e))?;
    serde_json::from_slice(&output.stdout).map_err(|e| {
        Error::new(ErrorKind::Backbone, "the backbone does not run alone")
            .at(folder.display())
            .found(String::from_utf8_lossy(&output.stderr).trim().to_owned())
            .because(e)
    })
}
