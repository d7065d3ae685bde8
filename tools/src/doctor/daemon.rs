//! What a running daemon says of itself, over its own page.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use wheatear::config::ServeConfig;

use super::Finding;

/// How long a daemon may take to answer.
const ANSWER: Duration = Duration::from_secs(3);
/// Longest answer that is read: a device may know thousands of classes.
const ANSWER_MAX_BYTES: u64 = 4 << 20;

/// Of the daemon that should be served; nothing where none is.
pub fn findings(serve: &ServeConfig) -> Vec<Finding> {
    let Some(address) = serve.address.map(local) else { return Vec::new() };
    let warning = |text: String| vec![Finding::warning("daemon", text)];
    if serve.certificate.is_some() {
        return match TcpStream::connect_timeout(&address, ANSWER) {
            Ok(_) => vec![Finding::well("daemon", format!("somebody answers at {address}; over TLS it is not asked more"))],
            Err(e) => warning(format!("nobody answers at {address}: {e}")),
        };
    }
    let token = serve.token_file.as_deref().and_then(|path| std::fs::read_to_string(path).ok());
    let token = token.as_deref().and_then(|text| text.lines().next()).unwrap_or_default().trim();
    let daemon = match ask(address, "/healthz", token) {
        Ok((200, _)) => Finding::well("daemon", format!("hears, at {address}")),
        Ok((_, text)) => Finding::warning("daemon", format!("at {address}: {}", text.trim())),
        Err(e) => return warning(format!("nobody answers at {address}: {e}")),
    };
    let told = match ask(address, "/api/v1/status", token) {
        Ok((200, text)) => serde_json::from_str(&text).map_or_else(|e| warning(format!("what it says cannot be read: {e}")), |s| of(&s)),
        Ok((status, _)) => warning(format!("at {address}: it tells no more ({status}); is serve.token_file readable for this user?")),
        Err(e) => warning(format!("at {address}: {e}")),
    };
    std::iter::once(daemon).chain(told).collect()
}

/// What was lost since the daemon was started, and how its head stands, by its status.
fn of(status: &Value) -> Vec<Finding> {
    let mut lost = Vec::new();
    let mut add = |value: &Value, what: &str| {
        if let Some(n) = value.as_u64().filter(|n| *n > 0) {
            lost.push(format!("{what}: {n}"));
        }
    };
    let counts = &status["counts"];
    for (key, what) in [
        ("frames_lost", "frames of sound"),
        ("windows_dropped", "windows that found no room"),
        ("windows_skipped", "windows passed over by a slow board"),
        ("windows_failed", "windows that the backbone could not answer"),
        ("events_lost", "events and clips"),
        ("signals_dropped", "notices of the board"),
    ] {
        add(&counts[key], what);
    }
    for microphone in status["microphones"].as_array().into_iter().flatten() {
        let name = microphone["name"].as_str().unwrap_or_default();
        add(&microphone["xruns"], &format!("losses within {name}"));
        add(&microphone["reopened"], &format!("times that {name} was lost and came back"));
        add(&microphone["hung"], &format!("streams of {name} that hang"));
        add(&microphone["not_numbers"], &format!("samples of {name} that were no numbers"));
        add(&microphone["dropped_events"], &format!("notices of {name}"));
    }
    let hours = status["uptime_s"].as_f64().unwrap_or_default() / 3600.0;
    let losses = match lost.is_empty() {
        true => Finding::well("losses", format!("none in {hours:.1} h")),
        false => Finding::warning("losses", format!("in {hours:.1} h {}", lost.join("; "))),
    };
    let head = match (status["adapter"]["refused"].as_str(), counts["serving"].as_u64().unwrap_or_default()) {
        (Some(why), _) => {
            Finding::warning("head", format!("the newest was refused, the one before serves: {why}; see wheatear accept and relabel"))
        }
        (None, 0) => Finding::well("head", "none yet: it takes rows of one class each, see wheatear inspect"),
        (None, generation) => Finding::well("head", format!("that of generation {generation} serves")),
    };
    vec![losses, head]
}

/// Status and body of an answer.
fn ask(address: SocketAddr, path: &str, token: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    let token = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{token}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(ANSWER_MAX_BYTES).read_to_string(&mut answer)?;
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let (status, body) = status.zip(answer.split_once("\r\n\r\n")).ok_or_else(|| std::io::Error::other("this is no answer of a daemon"))?;
    Ok((status, body.1.to_owned()))
}

/// Every address of this machine is reached by loopback.
fn local(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    address
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use serde_json::json;

    use super::super::State;
    use super::*;

    /// What is found of a daemon that answers so, one request after the other; and what it was asked.
    fn found(answers: [&'static str; 2], token_file: Option<std::path::PathBuf>) -> (Vec<Finding>, Vec<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().ok();
        let serving = std::thread::spawn(move || {
            let answer = |text: &str| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = [0; 1024];
                // The request is short, and comes at once.
                let n = stream.read(&mut asked).unwrap();
                stream.write_all(text.as_bytes()).unwrap();
                String::from_utf8_lossy(&asked[..n]).into_owned()
            };
            answers.into_iter().map(answer).collect::<Vec<String>>()
        });
        let found = findings(&ServeConfig { address, token_file, ..ServeConfig::default() });
        (found, serving.join().unwrap())
    }

    #[test]
    fn a_daemon_that_is_deaf_or_keeps_to_itself_is_told_and_one_that_does_not_run_too() {
        let deaf = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 5\r\n\r\ndeaf\n";
        let closed = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n";
        let (all, asked) = found([deaf, closed], None);
        assert!(all.len() == 2 && all.iter().all(|f| f.state == State::Warning), "{all:?}");
        assert!(all[0].text.contains("deaf") && all[1].text.contains("serve.token_file"), "{all:?}");
        assert!(!asked[1].contains("Authorization"), "{asked:?}");
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().ok();
        let gone = findings(&ServeConfig { address: free, ..ServeConfig::default() });
        assert!(gone.len() == 1 && gone[0].state == State::Warning && gone[0].text.contains("nobody answers"), "{gone:?}");
        assert!(findings(&ServeConfig::default()).is_empty());
    }

    #[test]
    fn its_status_is_asked_for_with_the_token() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "abcdefghijklmnop\n").unwrap();
        let ok = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n";
        let status = "HTTP/1.1 200 OK\r\n\r\n{\"uptime_s\": 7200, \"counts\": {\"serving\": 3}, \"adapter\": {\"refused\": null}}";
        let (all, asked) = found([ok, status], Some(path));
        assert!(all.iter().all(|f| f.state == State::Well), "{all:?}");
        assert_eq!((all[1].text.as_str(), all[2].text.as_str()), ("none in 2.0 h", "that of generation 3 serves"));
        assert!(asked[1].contains("Authorization: Bearer abcdefghijklmnop\r\n"), "{asked:?}");
    }

    #[test]
    fn what_was_lost_and_a_refused_head_are_warnings() {
        let all = of(&json!({
            "uptime_s": 3600.0,
            "adapter": {"refused": "old classes suffer"},
            "counts": {"frames_lost": 480, "windows_dropped": 0, "windows_failed": 1, "serving": 3},
            "microphones": [{"name": "yeti", "xruns": 2}, {"name": "moth", "xruns": 0}],
        }));
        assert!(all.iter().all(|f| f.state == State::Warning), "{all:?}");
        assert_eq!(all[0].text, "in 1.0 h frames of sound: 480; windows that the backbone could not answer: 1; losses within yeti: 2");
        assert!(all[1].text.contains("old classes suffer"), "{all:?}");
    }
}
