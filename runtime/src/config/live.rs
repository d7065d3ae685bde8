//! The tables of a device that listens: `[listen]`, `[serve]`, `[events]`, `[clips]`, `[mqtt]`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::check;
use crate::Result;
use crate::learn::ClassName;

/// `[listen]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenConfig {
    /// Microphones by id, name or a part of the name, as `wheatear devices` lists them; the default one when left out.
    pub microphones: Vec<String>,
    /// Rate to ask for, 8000 to 384000; the backbone's when left out. A device that has no such rate is heard at its own.
    pub rate_hz: Option<u32>,
    /// Only this channel, from 1; the mean of all when left out.
    pub channel: Option<u16>,
    /// Probability down to which a class that is heard goes on, 0 to that from which it begins (`classify.min_probability`); 0.7 of that
    /// when left out.
    pub end_probability: Option<f32>,
    /// What is shorter is not told, in ms, 0 to 60000; 0 when left out.
    pub min_ms: Option<u32>,
    /// Longest pause within an event, in ms, 0 to 60000; 500 when left out.
    pub merge_ms: Option<u32>,
    /// How long windows are held for labels that come late, in s, 1 to 86400; 600 when left out.
    pub recent_s: Option<u32>,
    /// Windows that no one is sure of are asked about, so many an hour, 0 to 3600; 0 when left out.
    pub ask_per_hour: Option<f64>,
    /// Least doubt that is asked about, 0 to 1; 0.5 when left out.
    pub ask_doubt: Option<f32>,
    /// Windows in which nothing was heard and that nobody named while they were held are learned as background, so many an hour, 0 to 60. 0
    /// when left out: what nobody has named yet may be what somebody names next.
    pub background_per_hour: Option<f64>,
    /// Hears for so long, in s, 1 to 86400, and rests until its next turn; all the time when left out. Together with `every_s`.
    pub on_s: Option<u32>,
    /// From one turn's begin to the next, in s, more than `on_s`, to 86400.
    pub every_s: Option<u32>,
    /// Spares the board: windows do not overlap, so that each sound is answered once, and other programs go first; false when left out.
    pub nice: Option<bool>,
}

/// `[serve]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServeConfig {
    /// Address and port of the page and the API, such as `127.0.0.1:7380`; nothing is served when left out. One that is not loopback needs
    /// a token, a certificate and its key.
    pub address: Option<SocketAddr>,
    /// Names by which this device is called, beside localhost and its addresses; none when left out.
    pub hosts: Vec<String>,
    /// File with the token that requests must bring, 16 to 256 characters on its first line.
    pub token_file: Option<PathBuf>,
    /// Certificate chain, PEM.
    pub certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub key: Option<PathBuf>,
}

/// `[events]`: where events go, several at once.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventsConfig {
    /// Every event, a line of JSON each.
    pub jsonl: Option<PathBuf>,
    /// What was heard, as CSV.
    pub csv: Option<PathBuf>,
    /// What was heard, as a Raven selection table.
    pub raven: Option<PathBuf>,
    /// What was heard, as Audacity labels.
    pub audacity: Option<PathBuf>,
    /// Every event, in an SQLite database; the history of the page.
    pub sqlite: Option<PathBuf>,
    /// MiB that each of these but the database takes, 1 to 65536, with the file before it: one that has half of them becomes `events.1.csv`, in
    /// the place of what was there; 64 when left out.
    pub max_mib: Option<u32>,
    /// Events that the database holds, 1000 to 100000000; 1000000 when left out.
    pub sqlite_events: Option<u32>,
}

/// `[clips]`: sound of what was heard and of what was asked about; nothing is saved without a folder.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClipsConfig {
    /// Folder, relative to the configuration's own folder; made when it is not there.
    pub folder: Option<PathBuf>,
    /// MiB that all clips take, 1 to 16777216: the oldest make room; 1024 when left out.
    pub max_mib: Option<u32>,
    /// Sound of an event, in s, 0.1 to 120; of a longer one its begin is saved; 15 when left out. So much of each microphone is held in
    /// memory, at 2 bytes a sample, and twice that while a clip is written.
    pub max_s: Option<f64>,
    /// Sound before an event and behind it, in s, 0 to 30; 1 when left out.
    pub margin_s: Option<f64>,
    /// Classes that are saved; all, and questions, when left out.
    pub classes: Vec<String>,
    /// Public key of age (`age1...`) of whoever may open them; they are not encrypted when left out.
    pub recipient: Option<String>,
}

/// `[mqtt]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MqttConfig {
    /// The broker, `mqtt://host:1883` or `mqtts://host:8883`; events go to none when left out.
    pub url: Option<String>,
    /// Name of this device at the broker and in topics: letters, digits, `-` and `_`; the host's name when left out.
    pub device: Option<String>,
    /// First part of every topic; `wheatear/<device>` when left out.
    pub prefix: Option<String>,
    /// User.
    pub username: Option<String>,
    /// File with the password, and nothing else but a line end behind it.
    pub password_file: Option<PathBuf>,
    /// Certificates of whom to trust, PEM, for mqtts; those of the system when left out.
    pub ca_file: Option<PathBuf>,
    /// Whether Home Assistant is told what there is; true when left out.
    pub home_assistant: Option<bool>,
}

impl ListenConfig {
    /// The microphones to look for; none is the system's own.
    pub fn wanted(&self) -> Vec<Option<&str>> {
        if self.microphones.is_empty() { vec![None] } else { self.microphones.iter().map(|m| Some(m.as_str())).collect() }
    }

    pub(super) fn validate(&self) -> Result<()> {
        let of = |key: &str| format!("listen.{key}");
        check(&of("rate_hz"), self.rate_hz.is_none_or(|r| (8000..=384_000).contains(&r)), "8000 to 384000", &self.rate_hz)?;
        check(&of("channel"), self.channel.is_none_or(|c| c > 0), "1 or more", &self.channel)?;
        let p = self.end_probability;
        check(&of("end_probability"), p.is_none_or(|p| (0.0..=1.0).contains(&p)), "0 to 1", &p)?;
        for (key, ms) in [("min_ms", self.min_ms), ("merge_ms", self.merge_ms)] {
            check(&of(key), ms.is_none_or(|ms| ms <= 60_000), "0 to 60000", &ms)?;
        }
        check(&of("recent_s"), self.recent_s.is_none_or(|s| (1..=86_400).contains(&s)), "1 to 86400", &self.recent_s)?;
        check(&of("ask_per_hour"), self.ask_per_hour.is_none_or(|n| (0.0..=3600.0).contains(&n)), "0 to 3600", &self.ask_per_hour)?;
        check(&of("ask_doubt"), self.ask_doubt.is_none_or(|d| (0.0..=1.0).contains(&d)), "0 to 1", &self.ask_doubt)?;
        let background = self.background_per_hour;
        check(&of("background_per_hour"), background.is_none_or(|n| (0.0..=60.0).contains(&n)), "0 to 60", &background)?;
        check(&of("on_s"), self.on_s.is_none_or(|s| (1..=86_400).contains(&s)), "1 to 86400", &self.on_s)?;
        let turn = (self.on_s, self.every_s);
        let is_turn = matches!(turn, (None, None)) || turn.0.zip(turn.1).is_some_and(|(on, every)| on < every && every <= 86_400);
        check(&of("every_s"), is_turn, "together with on_s, more than it, and at most 86400", &Some(turn))
    }
}

impl ServeConfig {
    pub(super) fn validate(&self) -> Result<()> {
        let given = (self.certificate.is_some(), self.key.is_some());
        check("serve.certificate", given.0 == given.1, "a certificate together with its key", &Some(given))
    }

    pub(super) fn paths(&mut self) -> [&mut Option<PathBuf>; 3] {
        [&mut self.token_file, &mut self.certificate, &mut self.key]
    }
}

impl EventsConfig {
    pub(super) fn validate(&self) -> Result<()> {
        check("events.max_mib", self.max_mib.is_none_or(|n| (1..=65_536).contains(&n)), "1 to 65536", &self.max_mib)?;
        let events = self.sqlite_events;
        check("events.sqlite_events", events.is_none_or(|n| (1000..=100_000_000).contains(&n)), "1000 to 100000000", &events)
    }

    pub(super) fn paths(&mut self) -> [&mut Option<PathBuf>; 5] {
        [&mut self.jsonl, &mut self.csv, &mut self.raven, &mut self.audacity, &mut self.sqlite]
    }
}

impl ClipsConfig {
    pub(super) fn validate(&self) -> Result<()> {
        check("clips.max_mib", self.max_mib.is_none_or(|n| (1..=1 << 24).contains(&n)), "1 to 16777216", &self.max_mib)?;
        check("clips.max_s", self.max_s.is_none_or(|s| (0.1..=120.0).contains(&s)), "0.1 to 120", &self.max_s)?;
        let wrong = self.classes.iter().find(|class| ClassName::new(class).is_err());
        check("clips.classes", wrong.is_none(), "names of classes", &wrong)?;
        check("clips.margin_s", self.margin_s.is_none_or(|s| (0.0..=30.0).contains(&s)), "0 to 30", &self.margin_s)
    }
}

impl MqttConfig {
    pub(super) fn validate(&self) -> Result<()> {
        let is_url =
            |url: &String| url.strip_prefix("mqtt://").or_else(|| url.strip_prefix("mqtts://")).is_some_and(|rest| !rest.is_empty());
        check(
            "mqtt.url",
            self.url.as_ref().is_none_or(is_url),
            "mqtt://host:1883 or mqtts://host:8883",
            &self.url.as_ref().map(|_| "another form"),
        )?;
        let is_name = |name: &String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        check("mqtt.device", self.device.as_ref().is_none_or(is_name), "letters, digits, - and _", &self.device)?;
        let is_topic = |topic: &String| !topic.is_empty() && !topic.contains(['+', '#', '\0']) && !topic.starts_with('$');
        check("mqtt.prefix", self.prefix.as_ref().is_none_or(is_topic), "a topic without + and #, that does not begin with $", &self.prefix)
    }
}
