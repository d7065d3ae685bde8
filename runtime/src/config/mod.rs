//! The configuration: one TOML schema for commands and daemon. Every key is optional and documented here; an unknown key,
//! a wrong type or a value out of range is refused with the file, the key, what is allowed and what was found.

mod live;
mod overrides;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use live::{ClipsConfig, EventsConfig, ListenConfig, MqttConfig, ServeConfig};
pub use overrides::Override;

use crate::{Error, ErrorKind, Result};

/// Number of the configuration schema.
pub const CONFIG_FORMAT: u32 = 1;

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// [`CONFIG_FORMAT`]; 1 when left out.
    pub format: Option<u32>,
    /// Profile of the board, relative to the configuration's own folder: what learning may cost, how large an adapter may be. None
    /// when left out, and then the defaults hold.
    pub board: Option<PathBuf>,
    /// The backbone.
    pub backbone: BackboneConfig,
    /// The adapter.
    pub adapter: AdapterConfig,
    /// Learning.
    pub learn: LearnConfig,
    /// Classifying.
    pub classify: ClassifyConfig,
    /// Listening.
    pub listen: ListenConfig,
    /// The page and the API.
    pub serve: ServeConfig,
    /// Where events go.
    pub events: EventsConfig,
    /// Clips of sound.
    pub clips: ClipsConfig,
    /// Events and labels over MQTT.
    pub mqtt: MqttConfig,
}

/// `[backbone]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackboneConfig {
    /// Folder with manifest.toml, relative to the configuration's own folder.
    pub folder: Option<PathBuf>,
    /// Variant; the manifest's first when left out.
    pub variant: Option<String>,
    /// ONNX Runtime library; searched in the documented places when left out.
    pub onnxruntime: Option<PathBuf>,
    /// Files that commands embed at once, 1 to 256; as many as there are cores, at most 8, when left out.
    pub threads: Option<u16>,
}

/// `[adapter]`; the bounds hold for adapters that are created from now on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdapterConfig {
    /// Folder, relative to the configuration's own folder.
    pub folder: Option<PathBuf>,
    /// Bits of a latent component, 4 to 8; the manifest's when left out.
    pub latent_bits: Option<u8>,
    /// Rows that replay can hold, 16 to 100000000; 16384 when left out.
    pub replay_rows: Option<u32>,
    /// The newest rows, which never leave replay, so that undo is exact for them: at most half of `replay_rows`; a quarter of
    /// them, at most 256, when left out.
    pub undo_rows: Option<u32>,
    /// Rows of background in replay: at most half of `replay_rows`; an eighth of them when left out.
    pub background_rows: Option<u32>,
    /// Classes, 1 to 65535; 256 when left out.
    pub max_classes: Option<u32>,
}

/// `[learn]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LearnConfig {
    /// When a label of `teach` is safe from a power cut; `chunk` when left out. Live labels are safe before they are acknowledged.
    pub durability: Option<DurabilityChoice>,
}

/// When a label is safe from a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DurabilityChoice {
    /// Before it is acknowledged.
    Label,
    /// Several at a time: a power cut may lose the newest.
    Chunk,
}

/// `[classify]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClassifyConfig {
    /// Head of the command `classify`; live sound is answered by the one that is kept with the adapter. `auto`, `ncm`, `slda` or `ridge`; `auto` when left out.
    pub head: Option<crate::head::HeadKind>,
    /// Windows that are more probably of no known class than this are unknown, 0 to 1; 0.5 when left out. Only `auto` tells.
    pub max_unknown: Option<f32>,
    /// Windows less probable than this make no event, 0 to 1; 0.5 when left out.
    pub min_probability: Option<f32>,
}

impl Config {
    /// Reads and checks `path`; relative folders in it are taken from its own folder.
    ///
    /// # Errors
    /// `Missing` or `Storage` when it cannot be read, `Config` with the key when it is wrong.
    pub fn load(path: &Path) -> Result<Config> {
        Config::load_with(Some(path), &[])
    }

    /// As [`Config::load`], with single keys set from outside; paths in those are taken from the folder one is in, as everywhere on a command
    /// line. Without a file only with those.
    ///
    /// # Errors
    /// As [`Config::load`]; as [`Override::set`].
    pub fn load_with(path: Option<&Path>, overrides: &[Override]) -> Result<Config> {
        let name = path.map_or_else(|| "configuration".to_owned(), |p| p.display().to_string());
        let text = path.map_or(Ok(String::new()), |p| std::fs::read_to_string(p).map_err(|e| Error::io("read the configuration", p, e)))?;
        // The text first: its errors name lines.
        let mut config = Config::parse(&text).map_err(|e| e.within(&name))?;
        let base = path.and_then(Path::parent).unwrap_or(Path::new(""));
        let Config { board, backbone, adapter, serve, events, clips, mqtt, .. } = &mut config;
        let own = [board, &mut backbone.folder, &mut adapter.folder, &mut backbone.onnxruntime, &mut mqtt.password_file, &mut mqtt.ca_file];
        let paths = own.into_iter().chain(serve.paths()).chain(events.paths());
        paths.chain([&mut clips.folder]).flatten().for_each(|path| *path = base.join(&path));
        if overrides.is_empty() {
            return Ok(config);
        }
        let unwritten = |e| Error::new(ErrorKind::Config, "the configuration cannot be written down").at(&name).because(e);
        let mut table = toml::Table::try_from(&config).map_err(unwritten)?;
        for set in overrides {
            set.set(&mut table)?;
            // One at a time, so that an error names the one that is wrong.
            config = table.clone().try_into().map_err(|e| unreadable(&e).at(&set.from))?;
        }
        // All together: some keys need others.
        let from = overrides.iter().map(|set| set.from.as_str()).collect::<Vec<_>>().join(", ");
        config.validate().map_err(|e| e.within(&from))?;
        Ok(config)
    }

    /// Parses and checks the text of a configuration.
    ///
    /// # Errors
    /// `Config` with the key, what is allowed and what was found.
    pub fn parse(text: &str) -> Result<Config> {
        let config: Config = toml::from_str(text).map_err(|e| unreadable(&e))?;
        config.validate()?;
        Ok(config)
    }

    /// Whether every value is allowed.
    ///
    /// # Errors
    /// `Config` with the key, what is allowed and what was found.
    pub fn validate(&self) -> Result<()> {
        check("format", self.format.is_none_or(|f| f == CONFIG_FORMAT), CONFIG_FORMAT, &self.format)?;
        check("backbone.threads", self.backbone.threads.is_none_or(|n| (1..=256).contains(&n)), "1 to 256", &self.backbone.threads)?;
        check("adapter.latent_bits", self.adapter.latent_bits.is_none_or(|b| (4..=8).contains(&b)), "4 to 8", &self.adapter.latent_bits)?;
        let rows = self.adapter.replay_rows;
        check("adapter.replay_rows", rows.is_none_or(|n| (16..=100_000_000).contains(&n)), "16 to 100000000", &rows)?;
        let half = rows.unwrap_or(16_384) / 2;
        for (key, share) in [("adapter.undo_rows", self.adapter.undo_rows), ("adapter.background_rows", self.adapter.background_rows)] {
            check(key, share.is_none_or(|n| n <= half), format!("at most {half}, half of replay_rows"), &share)?;
        }
        let classes = self.adapter.max_classes;
        check("adapter.max_classes", classes.is_none_or(|n| (1..=65_535).contains(&n)), "1 to 65535", &classes)?;
        let p = self.classify.min_probability;
        check("classify.min_probability", p.is_none_or(|p| (0.0..=1.0).contains(&p)), "0 to 1", &p)?;
        let p = self.classify.max_unknown;
        check("classify.max_unknown", p.is_none_or(|p| (0.0..=1.0).contains(&p)), "0 to 1", &p)?;
        self.listen.validate()?;
        self.serve.validate()?;
        self.events.validate()?;
        self.clips.validate()?;
        self.mqtt.validate()
    }
}

fn unreadable(e: &toml::de::Error) -> Error {
    Error::new(ErrorKind::Config, "the configuration cannot be read").found(e.to_string().trim_end()).cure("correct the key")
}

fn check<T: std::fmt::Debug>(key: &str, ok: bool, allowed: impl std::fmt::Display, found: &Option<T>) -> Result<()> {
    if ok {
        return Ok(());
    }
    let found = found.as_ref().map(|v| format!("{v:?}")).unwrap_or_default();
    Err(Error::new(ErrorKind::Config, "a configured value is not allowed").at(key).expected(allowed).found(found).cure("correct the key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_can_be_given_and_none_must_be() {
        assert_eq!(Config::parse("").unwrap(), Config::default());
        let text = "format = 1\nboard = \"x.toml\"\n[backbone]\nfolder = \"b\"\nvariant = \"mel-f16\"\nonnxruntime = \"/opt/x.so\"\nthreads = 2\n\
                    [adapter]\nfolder = \"a\"\nlatent_bits = 6\nreplay_rows = 1000\nundo_rows = 100\nbackground_rows = 50\nmax_classes = 20\n\
                    [learn]\ndurability = \"label\"\n[classify]\nhead = \"ridge\"\nmin_probability = 0.8\nmax_unknown = 0.9\n\
                    [listen]\nmicrophones = [\"yeti\"]\nrate_hz = 48000\nchannel = 2\nend_probability = 0.4\nmin_ms = 100\nmerge_ms = 500\n\
                    recent_s = 60\nask_per_hour = 6\nask_doubt = 0.4\nbackground_per_hour = 6\non_s = 60\n\
                    every_s = 600\nnice = true\n[serve]\naddress = \"127.0.0.1:7380\"\nhosts = [\"box.local\"]\n\
                    token_file = \"t\"\ncertificate = \"c.pem\"\nkey = \"k.pem\"\n[events]\njsonl = \"e.jsonl\"\ncsv = \"e.csv\"\n\
                    raven = \"e.txt\"\naudacity = \"l.txt\"\nsqlite = \"e.db\"\nmax_mib = 8\nsqlite_events = 5000\n\
                    [clips]\nfolder = \"c\"\nmax_mib = 100\nmax_s = 5\nmargin_s = 0.5\nclasses = [\"wren\"]\nrecipient = \"age1x\"\n\
                    [mqtt]\nurl = \"mqtt://localhost:1883\"\ndevice = \"box-1\"\nprefix = \"garden/box\"\nusername = \"u\"\n\
                    password_file = \"p\"\nca_file = \"ca.pem\"\nhome_assistant = false\n";
        let config = Config::parse(text).unwrap();
        let written = toml::to_string(&config).unwrap();
        assert_eq!(Config::parse(&written).unwrap(), config);
        // No key is left out: what is not given is not written, and the field is there all the same.
        let debug = format!("{config:?}");
        assert!(!debug.contains("None") && !debug.contains("[]"), "{debug}");
        assert_eq!((config.adapter.latent_bits, config.learn.durability), (Some(6), Some(DurabilityChoice::Label)));
    }

    #[test]
    fn a_wrong_key_type_or_value_is_named() {
        for (text, name) in [
            ("[backbone]\nfoldr = \"b\"", "foldr"),
            ("[backbone]\nthreads = \"two\"", "threads"),
            ("[backbone]\nthreads = 0", "backbone.threads"),
            ("[adapter]\nlatent_bits = 3", "adapter.latent_bits"),
            ("[adapter]\nreplay_rows = 100\nundo_rows = 51", "adapter.undo_rows"),
            ("[learn]\ndurability = \"never\"", "never"),
            ("[classify]\nmin_probability = nan", "classify.min_probability"),
            ("[classify]\nmax_unknown = 2", "classify.max_unknown"),
            ("format = 2", "format"),
            ("[listen]\nask_per_hour = nan", "listen.ask_per_hour"),
            ("[listen]\nchannel = 0", "listen.channel"),
            ("[listen]\nrate_hz = 7999", "listen.rate_hz"),
            ("[listen]\non_s = 60", "listen.every_s"),
            ("[listen]\non_s = 60\nevery_s = 60", "listen.every_s"),
            ("[listen]\nbackground_per_hour = 61", "listen.background_per_hour"),
            ("[clips]\nmax_s = 121", "clips.max_s"),
            ("[clips]\nclasses = [\"\"]", "clips.classes"),
            ("[serve]\naddress = \"localhost\"", "address"),
            ("[serve]\nkey = \"k.pem\"", "serve.certificate"),
            ("[events]\nmax_mib = 0", "events.max_mib"),
            ("[mqtt]\nurl = \"http://x\"", "mqtt.url"),
            ("[mqtt]\npassword = \"x\"", "password"),
            ("[mqtt]\ndevice = \"a/b\"", "mqtt.device"),
            ("[mqtt]\nprefix = \"a/#\"", "mqtt.prefix"),
        ] {
            let error = Config::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(name), "{text}: {error}");
        }
    }

    #[test]
    fn folders_are_taken_from_the_configurations_own_folder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wheatear.toml");
        std::fs::write(&path, "board = \"b.toml\"\n[backbone]\nfolder = \"models/x\"\n[adapter]\nfolder = \"/data/a\"\n").unwrap();
        let config = Config::load(&path).unwrap();
        assert_eq!(config.board, Some(dir.path().join("b.toml")));
        assert_eq!(config.backbone.folder, Some(dir.path().join("models/x")));
        assert_eq!(config.adapter.folder, Some(PathBuf::from("/data/a")));
    }

    #[test]
    fn what_is_set_from_outside_goes_before_the_file_and_an_error_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wheatear.toml");
        std::fs::write(&path, "[classify]\nmin_probability = 0.6\n[serve]\naddress = \"127.0.0.1:1\"\n").unwrap();
        let set = |all: &[&str]| all.iter().map(|s| Override::parse(s).unwrap()).collect::<Vec<_>>();
        let config = Config::load_with(Some(&path), &set(&["serve.address=127.0.0.1:2", "events.csv=e.csv"])).unwrap();
        assert_eq!((config.serve.address, config.classify.min_probability), ("127.0.0.1:2".parse().ok(), Some(0.6)));
        assert_eq!(config.events.csv, Some(PathBuf::from("e.csv")));
        assert_eq!(Config::load_with(None, &set(&["events.csv=e.csv"])).unwrap().events.csv, Some(PathBuf::from("e.csv")));
        let both = set(&["serve.certificate=c.pem", "serve.key=k.pem", "adapter.undo_rows=10000", "adapter.replay_rows=20000"]);
        assert!(Config::load_with(Some(&path), &both).is_ok(), "keys that need one another");
        for wrong in ["serve.key=k.pem", "classify.min_probability=2", "serve.adress=x", "listen.recent_s=soon"] {
            let error = Config::load_with(Some(&path), &set(&[wrong])).unwrap_err();
            assert!(error.kind() == ErrorKind::Config && error.to_string().contains(wrong.split('=').next().unwrap()), "{error}");
        }
    }
}
