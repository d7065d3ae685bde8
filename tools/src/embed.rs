//! Sound files to embeddings, several files at once, handed over in the order given.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use clap::Args as ClapArgs;
use indicatif::{ProgressBar, ProgressStyle};
use wheatear::backbone::manifest::{Manifest, Normalise};
use wheatear::backbone::session::SessionOptions;
use wheatear::config::Config;
use wheatear::pipeline::{Embedder, FileSummary};
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
    /// The configuration, all defaults when no file is named.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load(&self) -> Result<Config> {
        self.config.as_deref().map_or_else(|| Ok(Config::default()), Config::load)
    }
}

/// A backbone to embed with.
#[derive(Debug, Clone)]
pub struct BackboneChoice {
    folder: PathBuf,
    variant: Option<String>,
    threads: usize,
    options: SessionOptions,
}

impl BackboneArgs {
    /// What the command line says, then `config`, then the defaults.
    ///
    /// # Errors
    /// `Config` when neither names a backbone.
    pub fn choose(&self, config: &Config) -> Result<BackboneChoice> {
        let configured = &config.backbone;
        let folder = self.backbone.as_ref().or(configured.folder.as_ref()).ok_or_else(|| {
            Error::new(ErrorKind::Config, "no backbone is named").cure("give --backbone FOLDER, or backbone.folder in --config FILE.toml")
        })?;
        let cores = || std::thread::available_parallelism().map_or(1, |n| n.get().min(8));
        let library = self.onnxruntime.clone().or_else(|| configured.onnxruntime.clone());
        Ok(BackboneChoice {
            folder: folder.clone(),
            variant: self.variant.clone().or_else(|| configured.variant.clone()),
            threads: self.threads.or(configured.threads).map_or_else(cores, usize::from),
            options: SessionOptions { library, ..SessionOptions::default() },
        })
    }
}

impl BackboneChoice {
    /// The manifest.
    ///
    /// # Errors
    /// As [`Manifest::load`].
    pub fn manifest(&self) -> Result<Manifest> {
        Manifest::load(&self.folder).map(|(m, _)| m)
    }

    /// Loads the backbone and lets go of it.
    ///
    /// # Errors
    /// As [`Embedder::open`].
    pub fn check(&self) -> Result<()> {
        self.open().map(|_| ())
    }

    fn open(&self) -> Result<Embedder> {
        Embedder::open(&self.folder, self.variant.as_deref(), &self.options)
    }
}

/// The adapter's folder: what the command line says, else `config`.
///
/// # Errors
/// `Config` when neither names one.
pub fn adapter_folder(given: Option<&Path>, config: &Config) -> Result<PathBuf> {
    given.map(Path::to_path_buf).or_else(|| config.adapter.folder.clone()).ok_or_else(|| {
        Error::new(ErrorKind::Config, "no adapter is named").cure("give --adapter FOLDER, or adapter.folder in --config FILE.toml")
    })
}

/// One window of a file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowAt {
    /// First sample at the backbone's rate.
    pub start: u64,
    /// Samples of sound in it.
    pub len: usize,
    /// Largest absolute sample.
    pub peak: f32,
}

/// What a file gave.
pub struct Embedded {
    /// Windows.
    pub windows: Vec<WindowAt>,
    /// Embeddings, row-major \[windows, D\].
    pub embeddings: Vec<f32>,
    /// Facts about the file.
    pub summary: FileSummary,
}

/// Level below which a window is taken for silence: the floor of peak normalisation, or -60 dBFS.
pub fn silence_peak(manifest: &Manifest) -> f32 {
    match manifest.normalise {
        Normalise::Peak { floor } => floor,
        Normalise::None { .. } => 1e-3,
    }
}

/// Embeds `files` on several threads and hands each result to `sink` in the order of `files`.
///
/// At most two files a thread wait in memory. A file that cannot be used is handed over as its error; a backbone that
/// cannot be loaded ends the run.
///
/// # Errors
/// Those of loading the backbone, and of `sink`.
pub fn embed_files(
    backbone: &BackboneChoice,
    files: &[PathBuf],
    mut sink: impl FnMut(usize, Result<Embedded>) -> Result<()>,
) -> Result<()> {
    let threads = backbone.threads.min(files.len()).max(1);
    // The first session shows whether the backbone loads at all, before anything is started.
    let mut embedders = vec![backbone.open()?];
    while embedders.len() < threads {
        embedders.push(backbone.open()?);
    }
    // File i is the work of thread i mod threads, so that results can be taken in order from bounded queues.
    let stop = Mutex::new(false);
    std::thread::scope(|scope| {
        let mut queues: Vec<Receiver<Result<Embedded>>> = Vec::new();
        for (worker, mut embedder) in embedders.into_iter().enumerate() {
            let (send, receive) = sync_channel(1);
            queues.push(receive);
            let stop = &stop;
            scope.spawn(move || work(&mut embedder, files.iter().skip(worker).step_by(threads), &send, stop));
        }
        let mut result = Ok(());
        for i in 0..files.len() {
            let got =
                queues[i % threads].recv().unwrap_or_else(|_| Err(Error::new(ErrorKind::Backbone, "an embedding thread ended early")));
            result = sink(i, got);
            if result.is_err() {
                *stop.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = true;
                break;
            }
        }
        drop(queues);
        result
    })
}

fn work<'a>(embedder: &mut Embedder, files: impl Iterator<Item = &'a PathBuf>, send: &SyncSender<Result<Embedded>>, stop: &Mutex<bool>) {
    for path in files {
        if *stop.lock().unwrap_or_else(std::sync::PoisonError::into_inner) || send.send(embed(embedder, path)).is_err() {
            return;
        }
    }
}

fn embed(embedder: &mut Embedder, path: &Path) -> Result<Embedded> {
    let (mut windows, mut embeddings) = (Vec::new(), Vec::new());
    let summary = embedder.embed_file(path, &mut |w| {
        windows.push(WindowAt { start: w.start, len: w.len, peak: w.peak });
        embeddings.extend_from_slice(w.embedding);
        Ok(())
    })?;
    Ok(Embedded { windows, embeddings, summary })
}

/// A progress bar on standard error, `what` in front.
pub fn progress(what: &str, len: usize) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{prefix} {bar:32} {pos}/{len} {msg} {eta} left").unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(len as u64).with_style(style).with_prefix(what.to_owned())
}
