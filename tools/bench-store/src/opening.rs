//! How long a store takes to open, from copies of its files: as they lie while it is open, which is what a killed process
//! leaves, and after it was closed.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::figures::median;
use crate::folder;
use crate::rounds::Track;
use crate::stores::Kind;

const SAMPLES: usize = 7;

/// Median times to open, in ms.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Opening {
    pub killed_ms: f64,
    pub closed_ms: f64,
}

/// Opens copies of every store below `folder` in turns; closes the stores in between.
pub fn measure(folder: &Path, tracks: Vec<Track>) -> Result<Vec<(Kind, Opening)>> {
    let kinds: Vec<Kind> = tracks.iter().map(|t| t.kind).collect();
    let killed = sample(folder, &kinds)?;
    drop(tracks);
    let closed = sample(folder, &kinds)?;
    let both = killed.into_iter().zip(closed);
    Ok(both.map(|((kind, killed_ms), (_, closed_ms))| (kind, Opening { killed_ms, closed_ms })).collect())
}

fn sample(folder: &Path, kinds: &[Kind]) -> Result<Vec<(Kind, f64)>> {
    let mut times_ms: Vec<Vec<f64>> = vec![Vec::new(); kinds.len()];
    for _ in 0..SAMPLES {
        for (kind, times_ms) in kinds.iter().zip(&mut times_ms) {
            times_ms.extend(open_copy(*kind, &folder.join(kind.name()), &folder.join("copy"))?);
        }
    }
    Ok(kinds.iter().zip(times_ms).filter_map(|(kind, times)| Some((*kind, median(&times)?))).collect())
}

/// Copies `from` to `to`, opens the copy, and returns how long opening took in ms; `None` for what has nothing to open.
pub fn open_copy(kind: Kind, from: &Path, to: &Path) -> Result<Option<f64>> {
    folder::copy(from, to)?;
    let started = Instant::now();
    let opened = kind.open(to).with_context(|| format!("cannot open the copy of {}", kind.name()))?;
    let elapsed_ms = started.elapsed().as_secs_f64() * 1e3;
    Ok(opened.map(|_| elapsed_ms))
}
