//! Configurations, from a file and from outside: what is read is allowed, is read again from what is written for it, and is the same when
//! each of its keys is set from outside. Behind a NUL stand keys that are set, one a line.

use std::path::PathBuf;

use toml::Value;
use wheatear::ErrorKind;
use wheatear::config::{Config, MqttConfig, Override, ServeConfig};

/// Takes `data` as the text of a configuration, and as keys that are set.
pub fn run(data: &[u8]) {
    let Ok(all) = std::str::from_utf8(data) else { return };
    let (text, set) = all.split_once('\0').unwrap_or((all, ""));
    if let Ok(config) = Config::parse(text) {
        holds(&config);
        holds_when_set(&config);
    }
    let set: Vec<Override> = set.lines().filter_map(|line| Override::parse(line).ok()).collect();
    if let Ok(config) = Config::load_with(None, &set) {
        holds(&config);
    }
}

fn holds(config: &Config) {
    config.validate().expect("reading checks it");
    let written = toml::to_string(config).expect("it was written once");
    let again = Config::parse(&written).unwrap_or_else(|e| panic!("{e}\n{written}"));
    assert_eq!(again, *config);
    // Without the files that a daemon would look at.
    let mut alone = Config {
        board: None,
        serve: ServeConfig { token_file: None, ..config.serve.clone() },
        mqtt: MqttConfig {
            password_file: None,
            ca_file: None,
            url: config.mqtt.url.clone().filter(|url| url.starts_with("mqtt:")),
            ..config.mqtt.clone()
        },
        ..config.clone()
    };
    alone.backbone.folder.get_or_insert_with(|| PathBuf::from("b"));
    if let Err(e) = wheatear::service::check(&alone) {
        assert_eq!(e.kind(), ErrorKind::Config, "{e}");
    }
}

/// The same configuration, key by key from outside.
fn holds_when_set(config: &Config) {
    let table = toml::Table::try_from(config).expect("it was written once");
    let mut keys = Vec::new();
    for (name, value) in &table {
        match value {
            Value::Table(inner) => keys.extend(inner.iter().map(|(key, value)| (format!("{name}.{key}"), value))),
            value => keys.push((name.clone(), value)),
        }
    }
    let set: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
    // A text of several lines cannot be set so.
    if set.iter().any(|set| set.contains(['\n', '\r'])) {
        return;
    }
    let set: Vec<Override> = set.iter().map(|set| Override::parse(set).unwrap_or_else(|e| panic!("{e}"))).collect();
    let again = Config::load_with(None, &set).unwrap_or_else(|e| panic!("{e}\n{table}"));
    assert_eq!(again, *config);
}

/// No key, every key, and some that are set.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let all = "format = 1\nboard = \"x.toml\"\n[backbone]\nfolder = \"b\"\nvariant = \"mel-f16\"\nonnxruntime = \"/opt/x.so\"\nthreads = 2\n\
               [adapter]\nfolder = \"a\"\nlatent_bits = 6\nreplay_rows = 1000\nundo_rows = 100\nbackground_rows = 50\nmax_classes = 20\n\
               [learn]\ndurability = \"label\"\n[classify]\nhead = \"ridge\"\nmin_probability = 0.8\nmax_unknown = 0.9\n\
               [listen]\nmicrophones = [\"yeti\"]\nrate_hz = 48000\nchannel = 2\nend_probability = 0.4\nmin_ms = 100\nmerge_ms = 500\n\
               recent_s = 60\nask_per_hour = 6\nask_doubt = 0.4\nbackground_per_hour = 6\non_s = 60\nevery_s = 600\nnice = true\n[serve]\naddress = \"127.0.0.1:7380\"\nhosts = [\"box.local\"]\n\
               token_file = \"t\"\ncertificate = \"c.pem\"\nkey = \"k.pem\"\n[events]\njsonl = \"e.jsonl\"\ncsv = \"e.csv\"\n\
               raven = \"e.txt\"\naudacity = \"l.txt\"\nsqlite = \"e.db\"\nmax_mib = 8\nsqlite_events = 5000\n\
               [clips]\nfolder = \"c\"\nmax_mib = 100\nmax_s = 5\nmargin_s = 0.5\nclasses = [\"wren\"]\nrecipient = \"age1x\"\n\
               [mqtt]\nurl = \"mqtt://localhost:1883\"\ndevice = \"box-1\"\nprefix = \"garden/box\"\nusername = \"u\"\n\
               password_file = \"p\"\nca_file = \"ca.pem\"\nhome_assistant = false\n";
    let set = "\0serve.address=127.0.0.1:0\nlisten.recent_s = 30\nlisten.ask_per_hour=0.5\nmqtt.device=\"30\"\n\
               listen.microphones=[\"a\", \"b\"]\nadapter.folder=a = b\nboard=b.toml\nmqtt.url=mqtt://[::1]:1883\n";
    let outside = "[serve]\naddress = \"0.0.0.0:7380\"\n[adapter]\nfolder = \"a\"\n[mqtt]\nurl = \"mqtt://h\"\n";
    let seeds = [("empty", ""), ("all", all), ("set", set), ("outside", outside)];
    seeds.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).into()
}
