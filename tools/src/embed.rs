//! Sound files to embeddings, several files at once, handed over in the order given.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

use clap::Args as ClapArgs;
use indicatif::{ProgressBar, ProgressStyle};
use wheatear::config::Config;
use wheatear::latent::Quantiser;
use wheatear::pipeline::{Embedder, FileSummary, Window};
use wheatear::service::{self, backbone::BackboneChoice};
use wheatear::{Error, ErrorKind, Result};

/// Which backbone, and how it runs.
#[derive(Debug, Clone, ClapArgs)]
pub struct BackboneArgs {
    /// Backbone: a folder with manifest.toml
    #[arg(long, value_name = "FOLDER", env = "WHEATEAR_BACKBONE")]
    pub backbone: Option<PathBuf>,
    /// Variant of the backbone; without it the reference, which the manifest names first
    #[arg(long, value_name = "NAME")]
    pub variant: Option<String>,
    /// Files embedded at once, each on a core and in a session of its own; without it as many as there are cores, at most 8
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// ONNX Runtime library; without it the documented places are searched
    #[arg(long, value_name = "FILE")]
    pub onnxruntime: Option<PathBuf>,
}

/// Where the configuration is.
#[derive(Debug, Clone, ClapArgs)]
pub struct ConfigArgs {
    /// Configuration file; options on the command line go before it
    #[arg(long, value_name = "FILE.toml", env = "WHEATEAR_CONFIG")]
    config: Option<PathBuf>,
}

impl ConfigArgs {
    /// The file, where one is named.
    pub fn path(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// The configuration, all defaults when no file is named.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load(&self) -> Result<Config> {
        self.config.as_deref().map_or_else(|| Ok(Config::default()), Config::load)
    }
}

impl BackboneArgs {
    /// Sets in `config` what the command line says.
    pub fn set(&self, config: &mut Config) {
        let backbone = &mut config.backbone;
        backbone.folder = self.backbone.clone().or(backbone.folder.take());
        backbone.variant = self.variant.clone().or(backbone.variant.take());
        backbone.threads = self.threads.or(backbone.threads);
        backbone.onnxruntime = self.onnxruntime.clone().or(backbone.onnxruntime.take());
    }

    /// What the command line says, then `config`, then the defaults.
    ///
    /// # Errors
    /// `Config` when neither names a backbone.
    pub fn choose(&self, config: &Config) -> Result<BackboneChoice> {
        self.choose_for(config, None)
    }

    /// As [`BackboneArgs::choose`], and then where the adapter in `adapter` was taught, if the backbone is there still.
    ///
    /// # Errors
    /// `Config` when nothing names a backbone.
    pub fn choose_for(&self, config: &Config, adapter: Option<&Path>) -> Result<BackboneChoice> {
        let mut config = config.clone();
        self.set(&mut config);
        BackboneChoice::new(&config, adapter)
    }
}

/// The adapter's folder: what the command line says, else `config`.
///
/// # Errors
/// `Config` when neither names one.
pub fn adapter_folder(given: Option<&Path>, config: &Config) -> Result<PathBuf> {
    given.map_or_else(|| service::adapter::adapter_folder(config), |folder| Ok(folder.to_path_buf()))
}

/// What a file gave.
pub struct Embedded<T> {
    /// What the windows were turned into, in order.
    pub windows: Vec<T>,
    /// Facts about the file.
    pub summary: FileSummary,
}

/// A window that is not silent, as it is learned.
pub struct Latent {
    /// Its first sample, at the backbone's rate.
    pub start: u64,
    /// Components that were clipped.
    pub clipped: u32,
    /// The latent \[D\].
    pub latent: Vec<i8>,
}

/// Turns windows into latents, those quieter than `silence` into none.
pub fn latent_of(quantiser: &Quantiser, silence: f32) -> impl FnMut(&Window<'_>) -> Result<Option<Latent>> + Send {
    move |w| {
        if w.peak < silence {
            return Ok(None);
        }
        let mut latent = vec![0i8; quantiser.dim()];
        let clipped = quantiser.quantise(w.embedding, &mut latent)?;
        Ok(Some(Latent { start: w.start, clipped, latent }))
    }
}

/// Embeds `files` on several threads and hands each result to `sink` in the order of `files`.
///
/// Each thread turns its windows into what is kept of them by a function of its own that `turner` makes: only that waits in
/// memory, for at most two files a thread. A file that cannot be used is handed over as its error; a backbone that cannot be
/// loaded ends the run.
///
/// # Errors
/// Those of loading the backbone, and of `sink`.
pub fn embed_files<T: Send, F: FnMut(&Window<'_>) -> Result<T> + Send>(
    backbone: &BackboneChoice,
    files: &[PathBuf],
    turner: impl Fn() -> F,
    mut sink: impl FnMut(usize, Result<Embedded<T>>) -> Result<()>,
) -> Result<()> {
    let threads = backbone.threads().min(files.len()).max(1);
    // The first session shows whether the backbone loads at all, before anything is started.
    let mut embedders = vec![backbone.open()?];
    while embedders.len() < threads {
        embedders.push(backbone.open()?);
    }
    // File i is the work of thread i mod threads, so that results can be taken in order from bounded queues.
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mut queues: Vec<Receiver<Result<Embedded<T>>>> = Vec::new();
        for (worker, mut embedder) in embedders.into_iter().enumerate() {
            let (send, receive) = sync_channel(1);
            queues.push(receive);
            let (stop, mut turn) = (&stop, turner());
            scope.spawn(move || {
                for path in files.iter().skip(worker).step_by(threads) {
                    if stop.load(Ordering::Relaxed) || send.send(embed(&mut embedder, path, &mut turn)).is_err() {
                        return;
                    }
                }
            });
        }
        let mut result = Ok(());
        for i in 0..files.len() {
            let got =
                queues[i % threads].recv().unwrap_or_else(|_| Err(Error::new(ErrorKind::Backbone, "an embedding thread ended early")));
            result = sink(i, got);
            if result.is_err() {
                stop.store(true, Ordering::Relaxed);
                break;
            }
        }
        drop(queues);
        result
    })
}

fn embed<T>(embedder: &mut Embedder, path: &Path, turn: &mut impl FnMut(&Window<'_>) -> Result<T>) -> Result<Embedded<T>> {
    let mut windows = Vec::new();
    let summary = embedder.embed_file(path, &mut |w| {
        windows.push(turn(&w)?);
        Ok(())
    })?;
    Ok(Embedded { windows, summary })
}

/// A progress bar on standard error, `what` in front.
pub fn progress(what: &str, len: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {prefix} {bar:32} {pos}/{len} {msg} {elapsed} gone, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(len as u64).with_style(style).with_prefix(what.to_owned());
    // One long recording must not look like a command that hangs.
    bar.enable_steady_tick(std::time::Duration::from_millis(250));
    bar
}
