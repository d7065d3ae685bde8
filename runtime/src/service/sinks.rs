//! The sinks that a configuration names.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use crate::config::Config;
use crate::daemon::{Handle, Sink};
use crate::serve::History;
use crate::sinks::mqtt::{self, Mqtt};
use crate::sinks::{self, Behind, Database, EventFile, Format};
use crate::{Error, ErrorKind, Result};

/// Size of a file of events, where none is configured.
const MAX_MIB: u32 = 64;
/// Events that a database holds, where none are configured.
const SQLITE_EVENTS: u32 = 1_000_000;

/// What there is.
type Named = (Vec<Box<dyn Sink>>, Option<History>);
/// The daemon, once it runs.
pub(super) type Speaking = Arc<OnceLock<Handle>>;

/// The sinks, and how the past is asked for where there is a database. What comes by MQTT is done by `daemon`.
///
/// # Errors
/// As [`EventFile::open`], [`Database::open`] and [`Mqtt::start`].
pub(super) fn open(config: &Config, daemon: &Speaking) -> Result<Named> {
    let events = &config.events;
    let mut all: Vec<Box<dyn Sink>> = Vec::new();
    let files =
        [(&events.jsonl, Format::Json), (&events.csv, Format::Csv), (&events.raven, Format::Raven), (&events.audacity, Format::Audacity)];
    for (path, format) in files {
        if let Some(path) = path {
            let file = EventFile::open(path, format, events.max_mib.unwrap_or(MAX_MIB))?;
            all.push(Box::new(Behind::new(&path.display().to_string(), file)?));
        }
    }
    let mut history = None;
    if let Some(path) = &events.sqlite {
        let database = Database::open(path, u64::from(events.sqlite_events.unwrap_or(SQLITE_EVENTS)))?;
        all.push(Box::new(Behind::new(&path.display().to_string(), database)?));
        history = Some(past(path));
    }
    if let Some(url) = &config.mqtt.url {
        let daemon = daemon.clone();
        let starting = || Error::new(ErrorKind::Busy, "the daemon is just starting").cure("try again in a moment");
        let broker = Mqtt::start(&broker(config, url), move |request| daemon.get().ok_or_else(starting)?.answer(request, "mqtt"))?;
        all.push(Box::new(broker));
    }
    Ok((all, history))
}

/// Whether each file of events is its own, and the broker can be spoken to as configured.
///
/// # Errors
/// `Config` when two are one file; as [`mqtt::Settings::validate`].
pub(super) fn check(config: &Config) -> Result<()> {
    let files = files(config);
    for (n, (key, path)) in files.iter().enumerate() {
        if let Some((other, _)) = files[..n].iter().find(|(_, taken)| taken == path) {
            let error = Error::new(ErrorKind::Config, "two files of events are one").at(format!("events.{other} and events.{key}"));
            return Err(error.found(path.display()).cure("name another file for one of them"));
        }
    }
    config.mqtt.url.as_ref().map_or(Ok(()), |url| broker(config, url).validate())
}

/// Whether the folders for events are there.
///
/// # Errors
/// `Missing` when one is not.
pub(super) fn check_folders(config: &Config) -> Result<()> {
    for (key, path) in files(config) {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.is_dir() {
            let error = Error::new(ErrorKind::Missing, "there is no folder for events").at(format!("events.{key}"));
            return Err(error.found(folder.display()).cure("make it, or name another"));
        }
    }
    Ok(())
}

/// Keys and files of events.
fn files(config: &Config) -> Vec<(&'static str, &Path)> {
    let e = &config.events;
    let all = [("jsonl", &e.jsonl), ("csv", &e.csv), ("raven", &e.raven), ("audacity", &e.audacity), ("sqlite", &e.sqlite)];
    all.into_iter().filter_map(|(key, path)| Some((key, path.as_deref()?))).collect()
}

fn past(path: &Path) -> History {
    let history = sinks::History::new(path);
    Box::new(move |before, limit, kind, class| history.page(before, limit, kind, class))
}

fn broker(config: &Config, url: &str) -> mqtt::Settings {
    let mqtt = &config.mqtt;
    let mut settings = mqtt::Settings::new(url, &mqtt.device.clone().unwrap_or_else(host_name));
    settings.prefix.clone_from(&mqtt.prefix);
    settings.username.clone_from(&mqtt.username);
    settings.password_file.clone_from(&mqtt.password_file);
    settings.ca_file.clone_from(&mqtt.ca_file);
    if mqtt.home_assistant == Some(false) {
        settings.discovery.clear();
    }
    settings
}

/// The system's name, as far as topics allow it.
fn host_name() -> String {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    let name: String =
        name.split('.').next().unwrap_or_default().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(64).collect();
    if name.is_empty() { "device".into() } else { name }
}
