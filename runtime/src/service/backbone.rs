//! Which backbone: what the configuration names, or else where the adapter was taught.

use std::path::{Path, PathBuf};

use crate::backbone::manifest::Manifest;
use crate::backbone::session::{OrtBackbone, SessionOptions};
use crate::config::Config;
use crate::pipeline::Embedder;
use crate::{Error, ErrorKind, Result};

/// File in an adapter's folder that says where its backbone was: a hint, so that nobody need name it again. What it points
/// to is used only when it is the adapter's backbone by its space.
const HINT: &str = "backbone";

/// Where the adapter in `adapter` was taught, if the backbone is there still.
pub fn hinted(adapter: &Path) -> Option<PathBuf> {
    std::fs::read_to_string(adapter.join(HINT)).ok().map(|t| PathBuf::from(t.trim_end())).filter(|p| p.exists())
}

/// Leaves a hint of where the backbone in `folder` is in that of the adapter; without it whoever opens the adapter asks for one.
pub fn remember(folder: &Path, adapter: &Path) {
    let path = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    let hint = adapter.join(HINT);
    let text = format!("{}\n", path.display());
    if std::fs::read_to_string(&hint).ok().as_ref() != Some(&text)
        && let Err(e) = std::fs::write(&hint, text)
    {
        log::warn!("{}", Error::io("note the backbone's place in", &hint, e));
    }
}

/// Leaves the hint that is in the adapter's folder `from` in that of `to`, too.
pub fn pass_on_hint(from: &Path, to: &Path) {
    if let Ok(hint) = std::fs::read(from.join(HINT))
        && let Err(e) = std::fs::write(to.join(HINT), hint)
    {
        log::warn!("{}", Error::io("note the backbone's place in", to.join(HINT), e));
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

impl BackboneChoice {
    /// What `config` names, then where the adapter in `adapter` was taught, if the backbone is there still.
    ///
    /// # Errors
    /// `Config` when nothing names a backbone.
    pub fn new(config: &Config, adapter: Option<&Path>) -> Result<BackboneChoice> {
        let configured = &config.backbone;
        let folder = configured.folder.clone().or_else(|| hinted(adapter?)).ok_or_else(|| {
            Error::new(ErrorKind::Config, "no backbone is named").cure("give --backbone FOLDER, or backbone.folder in --config FILE.toml")
        })?;
        let options = SessionOptions { library: configured.onnxruntime.clone(), ..SessionOptions::default() };
        let cores = || std::thread::available_parallelism().map_or(1, |n| n.get().min(8));
        let threads = configured.threads.map_or_else(cores, usize::from);
        Ok(BackboneChoice { folder, variant: configured.variant.clone(), threads, options })
    }

    /// The manifest.
    ///
    /// # Errors
    /// As [`Manifest::load`].
    pub fn manifest(&self) -> Result<Manifest> {
        Manifest::load(&self.folder).map(|(m, _)| m)
    }

    /// Files that are embedded at once.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// How its sessions are set up.
    pub fn options(&self) -> &SessionOptions {
        &self.options
    }

    /// Loads the backbone and lets go of it.
    ///
    /// # Errors
    /// As [`Embedder::open`].
    pub fn check(&self) -> Result<()> {
        self.open().map(|_| ())
    }

    /// First eight bytes of the SHA-256 of the chosen variant's graph, big-endian.
    ///
    /// # Errors
    /// `Config` when there is no such variant.
    pub fn graph(&self, manifest: &Manifest) -> Result<u64> {
        let sha256 = &manifest.variant(self.variant.as_deref())?.sha256;
        Ok(u64::from_str_radix(&sha256[..16], 16).unwrap_or(0))
    }

    /// As [`remember`].
    pub fn remember(&self, adapter: &Path) {
        remember(&self.folder, adapter);
    }

    /// Loads its graph alone, with the manifest.
    ///
    /// # Errors
    /// As [`BackboneChoice::manifest`] and [`OrtBackbone::load`].
    pub fn session(&self) -> Result<(Manifest, OrtBackbone)> {
        let manifest = self.manifest()?;
        let session = OrtBackbone::load(&manifest, &self.folder, self.variant.as_deref(), &self.options)?;
        Ok((manifest, session))
    }

    /// Loads the backbone.
    ///
    /// # Errors
    /// As [`Embedder::open`].
    pub fn open(&self) -> Result<Embedder> {
        Embedder::open(&self.folder, self.variant.as_deref(), &self.options)
    }
}
