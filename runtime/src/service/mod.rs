//! A daemon with everything that its configuration names: microphones, backbone, adapter, sinks, page. `wheateard` and `wheatear listen`
//! are this, with something around it.

pub mod adapter;
pub mod backbone;
pub mod notify;
mod settings;
mod sinks;

use std::net::SocketAddr;

use crate::Result;
use crate::audio::capture::{Channel, MicrophoneSettings, devices};
use crate::backbone::manifest::Manifest;
use crate::board::Board;
use crate::config::{Config, ListenConfig};
use crate::daemon::{Daemon, Handle, Sink, Source};
use crate::learner::Budget;
use crate::live::learning::Learning;
use crate::serve::watch::Watch;
use crate::serve::{About, BackboneFacts, Server};
use backbone::BackboneChoice;

/// A daemon that runs.
pub struct Service {
    config: Config,
    about: About,
    server: Option<Server>,
    daemon: Daemon,
}

impl Service {
    /// Starts what `config` names; events go to `sinks` too. A microphone that is not there is waited for, unless `must_hear`.
    ///
    /// # Errors
    /// `Config` when the configuration does not name enough, or something that cannot be; those of the board, the backbone, the adapter,
    /// the sinks and the page; with `must_hear` those of [`devices::find`].
    pub fn start(config: Config, mut sinks: Vec<Box<dyn Sink>>, must_hear: bool, device: Option<[u8; 16]>) -> Result<Service> {
        check(&config)?;
        let (mut settings, serve) = (settings::daemon(&config)?, settings::serve(&config)?);
        let board = config.board.as_deref().map(Board::load).transpose()?;
        let folder = adapter::adapter_folder(&config)?;
        let backbone = BackboneChoice::new(&config, Some(&folder))?;
        let manifest = backbone.manifest()?;
        let microphones = microphones(&config, must_hear)?;
        let adapter = adapter::open_or_create(&config, board.as_ref(), &folder, (&backbone, &manifest), device, 0)?;
        backbone.remember(&folder);
        let embedders = microphones.iter().map(|_| backbone.open()).collect::<Result<Vec<_>>>()?;
        let budget = board.map_or_else(Budget::default, |b| b.learning);
        let learning = Learning::new(adapter, backbone.graph(&manifest)?, budget)?;
        let speaking = sinks::Speaking::default();
        let (named, history) = sinks::open(&config, &speaking)?;
        sinks.extend(named);
        let watch = serve.as_ref().map(|_| Watch::new());
        sinks.extend(watch.iter().map(|w| Box::new(w.clone()) as Box<dyn Sink>));
        let about = About { backbone: facts(&manifest, &backbone), microphones: microphones.iter().map(|m| m.0.clone()).collect() };
        let sources = microphones.into_iter().map(|m| source(&config, &manifest, m)).collect::<Result<Vec<_>>>()?;
        settings.picture = sinks.iter().any(|s| s.wants_sound());
        let daemon = Daemon::start(&settings, sources, embedders, learning, sinks)?;
        // Nobody else sets it.
        _ = speaking.set(daemon.handle().clone());
        let server = match serve.zip(watch) {
            Some((serve, watch)) => Some(Server::start(&serve, watch, daemon.handle().clone(), about.clone(), history)?),
            None => None,
        };
        Ok(Service { config, about, server, daemon })
    }

    /// What speaks to the daemon.
    pub fn handle(&self) -> &Handle {
        self.daemon.handle()
    }

    /// What does not change while it runs.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Where the page is served, if it is.
    pub fn address(&self) -> Option<SocketAddr> {
        self.server.as_ref().map(Server::address)
    }

    /// Whether everything still runs.
    ///
    /// # Errors
    /// As [`Daemon::check`] and [`Server::check`].
    pub fn check(&self) -> Result<()> {
        self.daemon.check()?;
        self.server.as_ref().map_or(Ok(()), Server::check)
    }

    /// Takes another configuration while sound goes on: when a class counts as heard, and what is asked. Names the tables in which
    /// something else has changed, which a restart is needed for.
    ///
    /// # Errors
    /// `Config` when it is wrong, `Busy` when the daemon has stopped; the one before holds on.
    pub fn reload(&mut self, config: Config) -> Result<Vec<&'static str>> {
        check(&config)?;
        self.daemon.handle().configure(settings::daemon(&config)?)?;
        let waits = settings::needs_restart(&self.config, &config);
        // What waits for a restart waits until there is one.
        let ListenConfig { microphones, rate_hz, channel, recent_s, .. } = self.config.listen.clone();
        self.config.classify = config.classify;
        self.config.listen = ListenConfig { microphones, rate_hz, channel, recent_s, ..config.listen };
        Ok(waits)
    }

    /// Ends the page, stops the microphones, tells what is still heard, and commits.
    ///
    /// # Errors
    /// As [`Daemon::stop`].
    pub fn stop(self) -> Result<()> {
        drop(self.server);
        self.daemon.stop()
    }
}

/// Whether a service can be started of `config`, as far as can be said before anything is opened or made.
///
/// # Errors
/// `Config` when something is missing or does not go together; `Missing` or `Storage` when a file that it names cannot be read.
pub fn check(config: &Config) -> Result<()> {
    config.validate()?;
    settings::daemon(config)?;
    if let Some(serve) = settings::serve(config)? {
        crate::serve::check(&serve)?;
    }
    let folder = adapter::adapter_folder(config)?;
    BackboneChoice::new(config, Some(&folder))?;
    config.board.as_deref().map(Board::load).transpose()?;
    sinks::check(config)
}

/// Names of the microphones, and the devices that they are.
fn microphones(config: &Config, must_hear: bool) -> Result<Vec<(String, Option<String>)>> {
    let named = &config.listen.microphones;
    let wanted: Vec<Option<&str>> = if named.is_empty() { vec![None] } else { named.iter().map(|m| Some(m.as_str())).collect() };
    let of = |wanted: Option<&str>| match devices::find(wanted) {
        Ok(input) => Ok((input.name, Some(input.id))),
        Err(e) if must_hear => Err(e),
        // Later it may come.
        Err(_) => Ok((wanted.unwrap_or("microphone").to_owned(), wanted.map(str::to_owned))),
    };
    wanted.into_iter().map(of).collect()
}

fn source(config: &Config, manifest: &Manifest, (name, device): (String, Option<String>)) -> Result<Source> {
    let listen = &config.listen;
    // The backbone's own rate needs no resampling here, which looks ahead.
    let rate_hz = listen.rate_hz.or(Some(manifest.audio.rate_hz));
    let channel = listen.channel.map_or(Channel::Mean, |n| Channel::One(n - 1));
    let source = Source::microphone(MicrophoneSettings { device, rate_hz, channel, ..MicrophoneSettings::default() })?;
    Ok(Source { name, ..source })
}

fn facts(manifest: &Manifest, backbone: &BackboneChoice) -> BackboneFacts {
    let ms = |samples: u32| f64::from(samples) / f64::from(manifest.audio.rate_hz) * 1e3;
    BackboneFacts {
        name: manifest.name.clone(),
        dim: manifest.embedding.dim,
        rate_hz: manifest.audio.rate_hz,
        window_ms: ms(manifest.audio.window_samples),
        hop_ms: ms(manifest.audio.hop_samples),
        // Each of them must be usable, or the backbone does not open.
        provider: backbone.options().providers.join(", "),
    }
}
