//! How a broker is found and spoken to.

use std::path::{Path, PathBuf};

use rumqttc::Transport;
use rumqttc::v5::MqttOptions;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnectProperties, LastWill};

use super::topics::{self, Topics};
use super::{KEEP_ALIVE, PACKET_MAX_BYTES, WINDOW};
use crate::{Error, ErrorKind, Result};

/// Longest wait between two tries to connect, in ms.
pub const RETRY_MAX_MS: u64 = 60_000;
/// Most events that wait while there is no broker.
pub const WAITING_MAX: u32 = 1_000_000;
/// Longest password file in bytes.
const PASSWORD_MAX_BYTES: u64 = 4096;
/// Where distributions keep the certificates that the system trusts.
#[cfg(feature = "mqtts")]
const TRUSTED: [&str; 3] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// A broker, and how this device is known to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `mqtt://host:port`, or `mqtts://host:port` over TLS; the port is 1883, or 8883, when left out.
    pub url: String,
    /// Name of this device, of letters, digits, `_` and `-`: at most 64. No two devices of a broker have the same.
    pub device: String,
    /// Begin of all topics; `wheatear/DEVICE` when left out.
    pub prefix: Option<String>,
    /// Client id; `wheatear-DEVICE` when left out.
    pub client_id: Option<String>,
    /// User name, where the broker asks for one.
    pub username: Option<String>,
    /// File that holds the password, and nothing else; a line end behind it is not part of it.
    pub password_file: Option<PathBuf>,
    /// Certificates of whom to trust, in PEM; those of the system when left out. For `mqtts` alone.
    pub ca_file: Option<PathBuf>,
    /// Begin of Home Assistant's topics of discovery; nothing is announced when it is empty.
    pub discovery: String,
    /// Events that wait while there is no broker, 1 to [`WAITING_MAX`]; the oldest are dropped.
    pub waiting: u32,
    /// Wait before the second try to connect, in ms, 10 to [`RETRY_MAX_MS`]; it doubles up to that with each further one.
    pub retry_ms: u64,
}

/// Settings that were checked.
pub(super) struct Checked {
    pub options: MqttOptions,
    pub topics: Topics,
    pub discovery: String,
    pub waiting: usize,
    pub retry_ms: u64,
    /// The broker, for messages.
    pub broker: String,
}

impl Settings {
    /// A broker at `url`, to which this device is `device`; everything else as it is when left out.
    pub fn new(url: &str, device: &str) -> Settings {
        Settings {
            url: url.into(),
            device: device.into(),
            prefix: None,
            client_id: None,
            username: None,
            password_file: None,
            ca_file: None,
            discovery: "homeassistant".into(),
            waiting: 1000,
            retry_ms: 1000,
        }
    }

    /// Whether a broker can be spoken to so.
    ///
    /// # Errors
    /// `Config` when a setting cannot be one; `Missing`, `Input` or `Storage` when a file that they name cannot be read.
    pub fn validate(&self) -> Result<()> {
        self.check().map(|_| ())
    }

    /// Checks every setting, and reads the files that they name.
    pub(super) fn check(&self) -> Result<Checked> {
        let (is_tls, host, port) = self.address()?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if self.device.is_empty() || self.device.len() > 64 || !self.device.chars().all(is_plain) {
            return Err(bad("device").expected("letters, digits, _ and -, 1 to 64 of them").found(format!("{:?}", self.device)));
        }
        let prefix = self.prefix.clone().unwrap_or_else(|| format!("wheatear/{}", self.device));
        for (key, topic) in [("prefix", &prefix), ("discovery", &self.discovery)] {
            let may_be_empty = key == "discovery" && topic.is_empty();
            if !may_be_empty && (!topics::is_valid(topic) || topic.ends_with('/') || topic.len() > 128) {
                let expected = "a topic of at most 128 bytes without +, #, control characters, a leading $ or a / at its end";
                return Err(bad(key).expected(expected).found(format!("{topic:?}")));
            }
        }
        if !(1..=WAITING_MAX).contains(&self.waiting) {
            return Err(bad("waiting").expected(format!("1 to {WAITING_MAX}")).found(self.waiting));
        }
        if !(10..=RETRY_MAX_MS).contains(&self.retry_ms) {
            return Err(bad("retry_ms").expected(format!("10 to {RETRY_MAX_MS}")).found(self.retry_ms));
        }
        let topics = Topics::new(&prefix);
        let client_id = self.client_id.clone().unwrap_or_else(|| format!("wheatear-{}", self.device));
        let mut options = MqttOptions::new(client_id, host.clone(), port);
        options.set_keep_alive(KEEP_ALIVE).set_clean_start(true).set_outgoing_inflight_upper_limit(WINDOW as u16);
        let mut properties = ConnectProperties::new();
        properties.max_packet_size = Some(PACKET_MAX_BYTES);
        options.set_connect_properties(properties);
        options.set_last_will(LastWill::new(topics.status.clone(), topics::OFFLINE, QoS::AtLeastOnce, true, None));
        match (&self.username, &self.password_file) {
            (Some(name), file) => {
                let password = file.as_deref().map(password).transpose()?;
                options.set_credentials(name, password.unwrap_or_default());
            }
            (None, Some(_)) => return Err(bad("username").expected("a name, where there is a password_file").found("none")),
            (None, None) => {}
        }
        if is_tls {
            options.set_transport(self.tls()?);
        } else if self.ca_file.is_some() {
            return Err(bad("ca_file").expected("none, or a url that begins with mqtts://").found(&self.url));
        }
        let broker = format!("{host}:{port}");
        Ok(Checked { options, topics, discovery: self.discovery.clone(), waiting: self.waiting as usize, retry_ms: self.retry_ms, broker })
    }

    /// Whether over TLS, host and port.
    fn address(&self) -> Result<(bool, String, u16)> {
        let wrong = |found: &str| bad("url").expected("mqtt://host:port or mqtts://host:port").found(format!("{found:?}"));
        if self.url.contains('@') {
            // It may be a password: it is not repeated.
            return Err(wrong("a name before @").cure("give the name as username, and the password in password_file"));
        }
        let (is_tls, rest) = match (self.url.strip_prefix("mqtt://"), self.url.strip_prefix("mqtts://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(wrong(&self.url)),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // The port stands behind the last colon, unless that is one of an IPv6 address in brackets.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (rest, None),
        };
        let port = port.map_or(Some(if is_tls { 8883 } else { 1883 }), |port| port.parse().ok().filter(|port| *port > 0));
        let is_bracketed = host.starts_with('[') && host.ends_with(']') && host[1..host.len() - 1].parse::<std::net::Ipv6Addr>().is_ok();
        let is_name = !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || "-._".contains(c));
        match port {
            Some(port) if is_bracketed || is_name => Ok((is_tls, host.to_owned(), port)),
            _ => Err(wrong(&self.url)),
        }
    }

    #[cfg(feature = "mqtts")]
    fn tls(&self) -> Result<Transport> {
        // Fails where another one was chosen before, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let trusted = || TRUSTED.iter().map(PathBuf::from).find(|p| p.exists());
        let nobody = || {
            let error =
                Error::new(ErrorKind::Missing, "the certificates that the system trusts are not found").expected(TRUSTED.join(" or "));
            error.cure("sudo apt-get install ca-certificates, or name a ca_file")
        };
        let file = self.ca_file.clone().or_else(trusted).ok_or_else(nobody)?;
        let certificates = std::fs::read(&file).map_err(|e| Error::io("read certificates", &file, e))?;
        if !String::from_utf8_lossy(&certificates).contains("-----BEGIN CERTIFICATE-----") {
            let error = Error::new(ErrorKind::Input, "a file of certificates holds none").at(file.display());
            return Err(error.expected("PEM: -----BEGIN CERTIFICATE-----").cure("name the broker's certificate authority as ca_file"));
        }
        Ok(Transport::tls(certificates, None, None))
    }

    #[cfg(not(feature = "mqtts"))]
    fn tls(&self) -> Result<Transport> {
        Err(bad("url").expected("mqtt://: this program was built without TLS").found(&self.url).cure("build it with the feature mqtts"))
    }
}

fn password(file: &Path) -> Result<String> {
    use std::io::Read;
    let failed = |e| Error::io("read the password of the broker", file, e);
    let mut text = String::new();
    std::fs::File::open(file).map_err(failed)?.take(PASSWORD_MAX_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > PASSWORD_MAX_BYTES {
        let error = bad("password_file").expected(format!("at most {PASSWORD_MAX_BYTES} bytes"));
        return Err(error.found("more").cure("name a file that holds the password and nothing else"));
    }
    Ok(text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line)).to_owned())
}

fn bad(key: &str) -> Error {
    Error::new(ErrorKind::Config, "this cannot be a setting of the broker").at(format!("mqtt.{key}")).cure("correct it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_and_without_a_port() {
        for (url, expected) in [
            ("mqtt://broker", (false, "broker", 1883)),
            ("mqtt://broker.lan:1884/", (false, "broker.lan", 1884)),
            ("mqtt://192.168.1.7:1", (false, "192.168.1.7", 1)),
            ("mqtt://[::1]", (false, "[::1]", 1883)),
            ("mqtt://[fe80::1]:9", (false, "[fe80::1]", 9)),
            ("mqtts://broker", (true, "broker", 8883)),
        ] {
            let (is_tls, host, port) = Settings::new(url, "box").address().unwrap();
            assert_eq!((is_tls, host.as_str(), port), expected, "{url}");
        }
    }

    #[test]
    fn what_is_no_setting_is_refused_with_its_key() {
        let good = || Settings::new("mqtt://broker", "box");
        assert!(good().check().is_ok());
        let mut all: Vec<(&str, Settings)> = Vec::new();
        for url in [
            "broker",
            "http://broker",
            "mqtt://",
            "mqtt://:1883",
            "mqtt://a b",
            "mqtt://a:0",
            "mqtt://a:70000",
            "mqtt://[::x]",
            "mqtt://a/b",
        ] {
            all.push(("mqtt.url", Settings::new(url, "box")));
        }
        for device in ["", "a/b", "a+b", "ä", &"a".repeat(65)] {
            all.push(("mqtt.device", Settings::new("mqtt://broker", device)));
        }
        for prefix in ["", "a/#", "+", "$SYS/a", "a/", "a\u{0}b"] {
            all.push(("mqtt.prefix", Settings { prefix: Some(prefix.into()), ..good() }));
        }
        all.push(("mqtt.discovery", Settings { discovery: "a/+".into(), ..good() }));
        all.push(("mqtt.username", Settings { password_file: Some("password".into()), ..good() }));
        all.push(("mqtt.ca_file", Settings { ca_file: Some("ca.pem".into()), ..good() }));
        all.push(("mqtt.waiting", Settings { waiting: 0, ..good() }));
        all.push(("mqtt.retry_ms", Settings { retry_ms: 1, ..good() }));
        for (key, settings) in all {
            let error = settings.check().err().unwrap_or_else(|| panic!("{settings:?} was taken"));
            assert!(error.kind() == ErrorKind::Config && error.to_string().contains(key), "{settings:?}: {error}");
        }
        let secret = Settings::new("mqtt://anna:secret@broker", "box").check().err().unwrap().to_string();
        assert!(!secret.contains("secret") && secret.contains("password_file"), "{secret}");
    }

    #[test]
    fn a_password_is_the_file_without_its_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        for (text, expected) in [("a b\n", "a b"), ("ab\r\n", "ab"), ("ab", "ab"), ("ab\n\n", "ab\n")] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(password(&file).unwrap(), expected);
        }
        std::fs::write(&file, "a".repeat(5000)).unwrap();
        assert_eq!(password(&file).unwrap_err().kind(), ErrorKind::Config);
        let settings =
            Settings { username: Some("anna".into()), password_file: Some(folder.path().join("none")), ..Settings::new("mqtt://b", "box") };
        assert_eq!(settings.check().err().unwrap().kind(), ErrorKind::Missing);
    }

    #[cfg(feature = "mqtts")]
    #[test]
    fn certificates_are_asked_for_before_anything_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let settings = Settings { ca_file: Some(file.clone()), ..Settings::new("mqtts://broker", "box") };
        assert_eq!(settings.check().err().unwrap().kind(), ErrorKind::Missing);
        std::fs::write(&file, "no certificate").unwrap();
        assert_eq!(settings.check().err().unwrap().kind(), ErrorKind::Input);
    }
}
