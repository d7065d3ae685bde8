//! Runs a folder of sounds through the pipeline: embeddings for the quantiser, inputs for the comparisons.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressStyle};
use wheatear::backbone::Backbone;
use wheatear::backbone::manifest::{GraphInput, Manifest};
use wheatear::backbone::probe::{Array, Probe};
use wheatear::calibration::{Calibrated, Calibration};
use wheatear::pipeline::Embedder;
use wheatear::{Error, ErrorKind, Result};

use super::prepare::Prepared;
use crate::sounds::sounds_in;

/// Windows whose loudest sample is below this say nothing about the model's range.
const SILENCE: f32 = 1e-4;
/// Windows kept to compare graphs on.
const KEPT: usize = 24;

/// What came of it.
pub struct Heard {
    /// The quantiser.
    pub calibrated: Calibrated,
    /// Inputs of the graph from real sounds, at most one a file.
    pub inputs: Vec<Vec<f32>>,
    /// Sounds used.
    pub files: usize,
    /// Sounds that could not be read.
    pub unreadable: usize,
    /// Windows left out as silent.
    pub silent: u64,
}

/// Embeds all sounds under `folder`.
///
/// # Errors
/// `Missing` or `Input` when there are no sounds; those of [`Calibration::finish`]; those of the backbone.
pub fn calibrate(folder: &Path, manifest: &Manifest, prepared: &Prepared, probe: Probe) -> Result<Heard> {
    let sounds = sounds_in(folder)?;
    let recorder = Arc::new(Mutex::new(None));
    let backbone =
        Probed { probe, prepared_input: prepared.values(&[]), takes: prepared.takes, dim: prepared.dim() as usize, last: recorder.clone() };
    let mut embedder = Embedder::new(manifest.clone(), Box::new(backbone), manifest.audio.rate_hz)?;
    let mut calibration = Calibration::new(prepared.dim() as usize);
    let (mut inputs, mut files, mut unreadable, mut silent) = (Vec::new(), 0, 0, 0);
    let every = sounds.len().div_ceil(KEPT).max(1);
    let style = ProgressStyle::with_template("calibrating {bar:32} {pos}/{len} sounds, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(sounds.len() as u64).with_style(style);
    for (i, path) in sounds.iter().enumerate() {
        let mut kept = inputs.len() >= KEPT || i % every != 0;
        let result = embedder.embed_file(path, &mut |window| {
            if window.peak < SILENCE {
                silent += 1;
                return Ok(());
            }
            calibration.add(window.embedding)?;
            if !kept {
                inputs.extend(recorder.lock().unwrap_or_else(PoisonError::into_inner).clone());
                kept = true;
            }
            Ok(())
        });
        match result {
            Ok(_) => files += 1,
            Err(e) if matches!(e.kind(), ErrorKind::Backbone | ErrorKind::Config) => {
                return Err(e);
            }
            Err(e) => {
                unreadable += 1;
                bar.suspend(|| log::warn!("left out: {e}"));
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let about =
        format!("{files} sounds, {} windows, of {}", calibration.windows(), folder.file_name().unwrap_or_default().to_string_lossy());
    Ok(Heard { calibrated: calibration.finish(8, &about)?, inputs, files, unreadable, silent })
}

/// The prepared graph as a backbone that remembers its last input.
struct Probed {
    probe: Probe,
    prepared_input: Array,
    takes: GraphInput,
    dim: usize,
    last: Arc<Mutex<Option<Vec<f32>>>>,
}

impl Backbone for Probed {
    fn input(&self) -> GraphInput {
        self.takes
    }

    fn input_len(&self) -> usize {
        self.prepared_input.shape.iter().product::<i64>() as usize
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn embed(&mut self, input: &[f32], embedding: &mut [f32]) -> Result<()> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(input.to_vec());
        self.prepared_input.values = input.to_vec();
        let outputs = self.probe.run(std::slice::from_ref(&self.prepared_input))?;
        match outputs.first() {
            Some(x) if x.values.len() == embedding.len() => embedding.copy_from_slice(&x.values),
            _ => return Err(Error::new(ErrorKind::Backbone, "the size of the embedding changes with the sound")),
        }
        Ok(())
    }
}
