//! How fast sound becomes answers in one thread: resampled where it must be, embedded window by window as it comes, and judged by a head.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;
use wheatear::Result;
use wheatear::audio::decode::SoundFile;
use wheatear::backbone::session::SessionOptions;
use wheatear::clock::thread_cpu_ns;
use wheatear::head::HeadKind;
use wheatear::latent::Quantiser;
use wheatear::learn::{Block, BlockKind, ClassName, LabelSet};
use wheatear::learner::{self, Budget, Guard, Judge, LabelledRow, Sources};
use wheatear::pipeline::Embedder;

/// Samples that come at once: 80 ms at 16 kHz.
const BLOCK: usize = 1280;
/// Windows that the head is taught.
const TAUGHT: usize = 200;
/// Windows of one recording.
const RECORDING: usize = 10;

/// What it took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Speed {
    /// Seconds of sound.
    pub sound_s: f64,
    /// Seconds that it took, and of the processor.
    pub wall_s: f64,
    /// Of the thread.
    pub cpu_s: f64,
    /// Windows that were answered.
    pub windows: u64,
    /// Dimension D.
    pub dim: usize,
}

/// Answers every window of the sound in `file` by the backbone in `folder`.
///
/// # Errors
/// Those of the file, the backbone and the head.
pub fn run(folder: &Path, file: &Path) -> Result<Speed> {
    let mut sound = SoundFile::open(file)?;
    let mut samples = Vec::new();
    while let Some(block) = sound.next_block()? {
        samples.extend_from_slice(block);
    }
    let mut embedder = Embedder::open(folder, None, &SessionOptions::default())?;
    embedder.reset(sound.rate_hz())?;
    let quantiser = Quantiser::from_manifest(embedder.manifest(), None)?;
    let mut judge = taught(&mut embedder, &quantiser, &samples)?;
    let mut latent = vec![0i8; quantiser.dim()];
    let (begun, begun_ns, mut windows) = (Instant::now(), thread_cpu_ns(), 0);
    for block in samples.chunks(BLOCK) {
        embedder.push(block, &mut |w| {
            quantiser.quantise(w.embedding, &mut latent)?;
            std::hint::black_box(judge.judge(&latent));
            windows += 1;
            Ok(())
        })?;
    }
    let (wall_s, cpu_s) = (begun.elapsed().as_secs_f64(), (thread_cpu_ns() - begun_ns) as f64 * 1e-9);
    Ok(Speed { sound_s: samples.len() as f64 / f64::from(sound.rate_hz()), wall_s, cpu_s, windows, dim: quantiser.dim() })
}

/// A head that tells two classes apart, learned from the begin of the sound; what they are is of no matter here.
fn taught(embedder: &mut Embedder, quantiser: &Quantiser, samples: &[f32]) -> Result<Judge> {
    let (mut block, mut rows) = (Block::new(BlockKind::Latents, quantiser.dim())?, Vec::new());
    let classes = [ClassName::new("one")?, ClassName::new("other")?];
    let audio = &embedder.manifest().audio;
    let len = (audio.window_samples as usize + TAUGHT * audio.hop_samples as usize).min(samples.len());
    embedder.push(&samples[..len], &mut |w| {
        let (mut latent, recording) = (vec![0i8; quantiser.dim()], rows.len() / RECORDING);
        quantiser.quantise(w.embedding, &mut latent)?;
        let class = classes[recording % classes.len()].clone();
        block.add(&latent, &LabelSet::single(class.clone()))?;
        rows.push(LabelledRow { id: rows.len() as u64, latent, class, recording: recording as u64 });
        Ok(())
    })?;
    embedder.reset(embedder.source_rate_hz())?;
    let sources = Sources { block: &block, scale: quantiser.scale(), rows: &rows, background: &[], expanded: None };
    Ok(Judge::new(&learner::solve(HeadKind::Auto, Guard::On, sources, &Budget::default())?, quantiser))
}
