//! A daemon with everything that its configuration names: microphones, backbone, adapter, sinks, page. `wheateard` and `wheatear listen`
//! are this, with something around it.

pub mod adapter;
pub mod backbone;
pub mod notify;
mod settings;
mod sinks;

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use crate::audio::capture::feed::Tap;
use crate::audio::capture::{Channel, Duty, MicrophoneSettings, devices};
use crate::backbone::manifest::Manifest;
use crate::board::Board;
use crate::config::Config;
use crate::daemon::{Daemon, Handle, Sink, Source};
use crate::latent::SpaceId;
use crate::learner::Budget;
use crate::live::learning::Learning;
use crate::live::pace::BEHIND_HOPS;
use crate::live::smooth::Rule;
use crate::serve::watch::Watch;
use crate::serve::{About, BackboneFacts, Server};
use crate::sinks::{Clips, clips};
use crate::store::{Access, HEADER};
use crate::{Error, ErrorKind, Result};
use backbone::BackboneChoice;

/// Frames that may wait for what saves clips: two seconds at 384 kHz.
const TAP_FRAMES: usize = 1 << 20;

/// The adapter that is taught, and what another must be that takes its place.
struct Taught {
    /// As [`identity`] gives it.
    identity: (u64, u64),
    space: SpaceId,
    backbone: String,
    graph: u64,
    budget: Budget,
}

/// A daemon that runs.
pub struct Service {
    /// What it was started with: what waits for a restart waits until there is one.
    started: Config,
    adapter: Taught,
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
        let taught = Taught {
            identity: identity(&folder)?,
            space: adapter.header().creation.space,
            backbone: manifest.name.clone(),
            graph: backbone.graph(&manifest)?,
            budget,
        };
        let learning = Learning::new(adapter, taught.graph, budget)?;
        let speaking = sinks::Speaking::default();
        let (named, history) = sinks::open(&config, &speaking)?;
        sinks.extend(named);
        let watch = serve.as_ref().map(|_| Watch::new());
        sinks.extend(watch.iter().map(|w| Box::new(w.clone()) as Box<dyn Sink>));
        let rest = config.listen.every_s.map_or(Duration::ZERO, |s| Duration::from_secs(s.into()));
        let about = About { backbone: facts(&manifest, &backbone), microphones: microphones.iter().map(|m| m.0.clone()).collect(), rest };
        let mut sources = microphones.into_iter().map(|m| source(&config, &manifest, m)).collect::<Result<Vec<_>>>()?;
        if let Some(clips) = settings::clips(&config, &settings.rule, about.backbone.window_ms * 1e-3)? {
            sinks.push(Box::new(clips_of(clips, &mut sources)?));
        }
        settings.picture = sinks.iter().any(|s| s.wants_sound());
        let daemon = Daemon::start(&settings, sources, embedders, learning, sinks)?;
        // Nobody else sets it.
        _ = speaking.set(daemon.handle().clone());
        let server = match serve.zip(watch) {
            Some((serve, watch)) => Some(Server::start(&serve, watch, daemon.handle().clone(), about.clone(), history)?),
            None => None,
        };
        Ok(Service { started: config, adapter: taught, about, server, daemon })
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

    /// Takes another configuration while sound goes on: when a class counts as heard, what is asked, and another adapter, whether it is named
    /// now or has come to the path of the one before. Names the tables in which something else has changed, which a restart is needed for.
    ///
    /// # Errors
    /// `Config` when it is wrong; as [`adapter::open`] and [`Adapter::check_space`](crate::store::Adapter::check_space) of another adapter;
    /// `Busy` when the daemon has stopped. What was before holds on.
    pub fn reload(&mut self, config: Config) -> Result<Vec<&'static str>> {
        check(&config)?;
        let folder = adapter::adapter_folder(&config)?;
        let identity = identity(&folder)?;
        if identity != self.adapter.identity {
            let taught = &self.adapter;
            let adapter = adapter::open(&folder, Access::Write)?;
            adapter.check_space(taught.space, &taught.backbone)?;
            self.daemon.handle().swap(Learning::new(adapter, taught.graph, taught.budget)?)?;
            log::info!("{}: another adapter is taught from now on", folder.display());
            self.adapter.identity = identity;
        }
        self.daemon.handle().configure(settings::daemon(&config)?)?;
        Ok(settings::needs_restart(&self.started, &config))
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

/// Whether a service can be started of `config`, as far as can be said before anything is opened or made; see [`check_places`], too.
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
    settings::clips(config, &Rule::default(), 0.0)?;
    sinks::check(config)
}

/// Whether the backbone and the folders for events are where `config`, which [`check`] found good, says.
///
/// # Errors
/// `Missing` when a folder is not there; those of the backbone's manifest.
pub fn check_places(config: &Config) -> Result<()> {
    BackboneChoice::new(config, config.adapter.folder.as_deref())?.manifest()?;
    sinks::check_folders(config)
}

/// Device and number of the file that says which adapter it is: another adapter's is another, however it came there.
fn identity(folder: &Path) -> Result<(u64, u64)> {
    let path = folder.join(HEADER);
    let found = std::fs::metadata(&path).map_err(|e| Error::io("find the adapter", &path, e))?;
    Ok((found.dev(), found.ino()))
}

/// Names of the microphones, and the devices that they are.
fn microphones(config: &Config, must_hear: bool) -> Result<Vec<(String, Option<String>)>> {
    let of = |wanted: Option<&str>| match devices::find(wanted) {
        Ok(input) => Ok((input.name, Some(input.id))),
        Err(e) if must_hear => Err(e),
        // Later it may come.
        Err(_) => Ok((wanted.unwrap_or("microphone").to_owned(), wanted.map(str::to_owned))),
    };
    let mut found: Vec<(String, Option<String>)> = config.listen.wanted().into_iter().map(of).collect::<Result<_>>()?;
    tell_apart(&mut found);
    Ok(found)
}

/// Events and clips know microphones by name, and two of one make have the same: the later one gets its number.
fn tell_apart(microphones: &mut [(String, Option<String>)]) {
    for n in 1..microphones.len() {
        let (before, rest) = microphones.split_at_mut(n);
        if before.iter().any(|(name, _)| *name == rest[0].0) {
            rest[0].0 = format!("{} ({})", rest[0].0, n + 1);
        }
    }
}

fn source(config: &Config, manifest: &Manifest, (name, device): (String, Option<String>)) -> Result<Source> {
    let listen = &config.listen;
    // The backbone's own rate needs no resampling here, which looks ahead.
    let rate_hz = listen.rate_hz.or(Some(manifest.audio.rate_hz));
    let channel = listen.channel.map_or(Channel::Mean, |n| Channel::One(n - 1));
    let hop_s = f64::from(manifest.audio.hop_samples) / f64::from(manifest.audio.rate_hz);
    let usual = MicrophoneSettings::default();
    // A board that is too slow must see that it is behind before sound is lost.
    let ring_time = usual.ring_time + Duration::from_secs_f64(2.0 * BEHIND_HOPS * hop_s);
    let duty = duty(config, manifest)?;
    let source = Source::microphone(MicrophoneSettings { device, rate_hz, channel, ring_time, duty, ..usual })?;
    Ok(Source { name, ..source })
}

/// When microphones hear, where it is not all the time.
fn duty(config: &Config, manifest: &Manifest) -> Result<Option<Duty>> {
    let Some((on_s, every_s)) = config.listen.on_s.zip(config.listen.every_s) else { return Ok(None) };
    let audio = &manifest.audio;
    let window_s = f64::from(audio.window_samples) / f64::from(audio.rate_hz);
    if f64::from(on_s) < 2.0 * window_s {
        return Err(Error::new(ErrorKind::Config, "a turn of hearing is too short")
            .at("listen.on_s")
            .expected(format!("at least two windows of the backbone, {:.1} s", 2.0 * window_s))
            .found(on_s)
            .cure("hear for longer, and less often"));
    }
    Ok(Some(Duty { on: Duration::from_secs(on_s.into()), every: Duration::from_secs(every_s.into()) }))
}

/// What saves clips of `sources`.
fn clips_of(settings: clips::Settings, sources: &mut [Source]) -> Result<Clips> {
    let tapped = |source: &mut Source| {
        let (tap, reader) = Tap::new(TAP_FRAMES);
        source.tap = Some(tap);
        (source.name.clone(), reader)
    };
    Clips::start(settings, sources.iter_mut().map(tapped).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microphones_of_one_name_are_told_apart() {
        let mut found: Vec<_> = ["yeti", "moth", "yeti", "yeti"].map(|name| (name.to_owned(), None)).into();
        tell_apart(&mut found);
        assert_eq!(found.iter().map(|m| m.0.as_str()).collect::<Vec<_>>(), ["yeti", "moth", "yeti (3)", "yeti (4)"]);
    }
}
