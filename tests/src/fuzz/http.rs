//! What any client may send: a real daemon is served over real connections. The first byte says whether with a token (even) or without.
//!
//! No thread panics and nothing hangs; what is answered has a status of the API, and what is not is closed. Nothing is taught or taken back
//! but by requests with the token, to this device, and from no other site, as far as their lines show.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use rustix::net::Shutdown;

use super::desk::{Desk, LONG, TOKEN};

/// Answered behind what the client sends, where that ends as a request does.
const LAST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
/// How an answer that goes on for ever says so.
const STREAM: &[u8] = b"text/event-stream";

static PANICKED: AtomicBool = AtomicBool::new(false);

fn desk() -> MutexGuard<'static, Desk> {
    static DESK: OnceLock<Mutex<Desk>> = OnceLock::new();
    let desk = DESK.get_or_init(|| {
        // The server outlives a request that panics; here it must not come to that.
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICKED.store(true, SeqCst);
            before(panic);
        }));
        // A fuzzer's own main would be ended by a client that goes; Rust's is not.
        signal_hook::flag::register(signal_hook::consts::SIGPIPE, Arc::default()).expect("a signal that may be taken");
        Mutex::new(Desk::new().expect("a desk in memory"))
    });
    desk.lock().expect("no run failed")
}

/// Sends `data`, but its first byte, over a connection of its own.
pub fn run(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let (desk, with_token) = (desk(), first % 2 == 0);
    let allowed = requests(bytes).filter(|request| may_change(request, with_token)).count() as u64;
    let before = desk.changes();
    let answer = send(&desk, with_token, bytes);
    statuses(&answer).for_each(|status| assert!(is_known(status), "status {status}: {}", String::from_utf8_lossy(&answer)));
    if allowed > 0 {
        desk.wait();
    }
    let changes = desk.changes() - before;
    assert!(changes <= allowed, "{changes} changes by {allowed} requests that may");
    if allowed > 0 {
        desk.settle();
    }
    desk.check().expect("it goes on");
    assert!(!PANICKED.load(SeqCst), "a thread panicked");
}

/// What comes back.
fn send(desk: &Desk, with_token: bool, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(desk.address(with_token)).expect("it is served");
    stream.set_read_timeout(Some(LONG)).expect("a time limit");
    // Closed at once, so that no port stays taken for a minute.
    rustix::net::sockopt::set_socket_linger(&stream, Some(std::time::Duration::ZERO)).expect("no linger");
    // It may be closed before everything is sent, here and below.
    _ = stream.write_all(bytes).and_then(|()| stream.write_all(LAST));
    _ = rustix::net::shutdown(&stream, Shutdown::Write);
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut part) {
            Ok(0) => return answer,
            Ok(n) => answer.extend_from_slice(&part[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => panic!("neither answered nor closed: {e}"),
            Err(_) => return answer,
        }
        if answer.windows(STREAM.len()).any(|text| text == STREAM) {
            drop(stream);
            desk.tell();
            return answer;
        }
    }
}

/// Every status in `answer`.
fn statuses(answer: &[u8]) -> impl Iterator<Item = u16> {
    const VERSION: &[u8] = b"HTTP/1.1 ";
    let digits = |at: usize| std::str::from_utf8(answer.get(at + VERSION.len()..at + VERSION.len() + 3)?).ok()?.parse().ok();
    (0..answer.len()).filter(|at| answer[*at..].starts_with(VERSION)).filter_map(digits)
}

fn is_known(status: u16) -> bool {
    matches!(status, 100 | 200 | 400 | 401 | 403 | 404 | 405 | 408 | 409 | 413 | 414 | 415 | 431 | 503)
}

/// Requests as their lines show: the first one of each, which may stand behind a body, and its headers.
fn requests(bytes: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    let lines = bytes.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut blocks = vec![Vec::new()];
    for line in lines {
        if line.is_empty() {
            blocks.push(Vec::new());
        } else if let Some(block) = blocks.last_mut() {
            block.push(line);
        }
    }
    blocks.into_iter()
}

/// Whether a request may teach, or take back.
fn may_change(lines: &[&[u8]], with_token: bool) -> bool {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // Lines of a body may stand before its own.
    let Some(first) = lines.iter().rposition(|line| text(line).contains("POST /api/v1/")) else { return false };
    let headers = |name: &str| -> Vec<String> {
        let of = |line: &&[u8]| {
            let line = text(line);
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        };
        lines[first + 1..].iter().filter_map(of).collect()
    };
    let hosts = headers("host");
    let [host] = &hosts[..] else { return false };
    let from_here = |origin: &String| ["http://", "https://"].iter().any(|scheme| *origin == format!("{scheme}{host}"));
    is_own(host)
        && headers("origin").iter().all(from_here)
        && headers("sec-fetch-site").iter().all(|site| site == "same-origin" || site == "none")
        && (!with_token || headers("authorization") == [format!("Bearer {TOKEN}")])
}

/// Whether the name before the port is this device's, or any address.
fn is_own(host: &str) -> bool {
    let name = host.rsplit_once(':').filter(|(name, _)| !name.contains(':') || name.ends_with(']')).map_or(host, |(name, _)| name);
    let address = name.trim_start_matches('[').trim_end_matches(']');
    ["localhost", "box.local"].iter().any(|own| name.eq_ignore_ascii_case(own)) || address.parse::<IpAddr>().is_ok()
}

/// Requests of each kind, good ones and refused ones.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let post = |first: u8, path: &str, headers: &str, body: &str| {
        let length = body.len();
        let head =
            format!("POST /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n");
        [&[first][..], format!("{head}{headers}\r\n{body}").as_bytes()].concat()
    };
    let get = |path: &str, headers: &str| [b"1", format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:80\r\n{headers}\r\n").as_bytes()].concat();
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    let by_window = r#"{"target": {"window": 3}, "labels": "wren;!robin", "by": "anna"}"#;
    let last = r#"{"target": {"last_ms": 86400000, "microphone": 1}, "labels": "jay"}"#;
    let span = format!(r#"{{"target": {{"span_ns": [0, {}]}}, "labels": "!*"}}"#, u64::MAX);
    let event = r#"{"target": {"event": 1}, "labels": "jay", "by": ""}"#;
    let undo = post(b'1', "undo", "", r#"{"labels": 1, "by": "anna"}"#);
    let chunked = "1POST /api/v1/undo HTTP/1.1\r\nhost: [::1]:1\r\ncontent-type: application/json; charset=utf-8\r\n\
                   transfer-encoding: chunked\r\n\r\n1\r\n{\r\n1;x=y\r\n}\r\n0\r\n\r\n";
    let mut seeds: Vec<(String, Vec<u8>)> = vec![
        ("label".into(), post(b'0', "labels", &token, by_window)),
        ("label-last".into(), post(b'1', "labels", "Origin: http://localhost\r\n", last)),
        ("label-span".into(), post(b'1', "labels", "Sec-Fetch-Site: same-origin\r\n", &span)),
        ("label-event".into(), post(b'1', "labels", "Expect: 100-continue\r\n", event)),
        ("undo".into(), undo.clone()),
        ("undo-chunked".into(), chunked.into()),
        ("no-token".into(), post(b'0', "undo", "", "{}")),
        ("wrong-token".into(), post(b'0', "undo", "Authorization: Bearer another-token-of-length\r\n", "{}")),
        ("other-site".into(), post(b'1', "undo", "Origin: http://elsewhere.example\r\nSec-Fetch-Site: cross-site\r\n", "{}")),
        ("other-host".into(), b"1POST /api/v1/undo HTTP/1.1\r\nHost: elsewhere.example\r\nContent-Length: 2\r\n\r\n{}".to_vec()),
        (
            "form".into(),
            b"1POST /api/v1/undo HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}".to_vec(),
        ),
        ("several".into(), [&post(b'1', "labels", "", by_window)[..], &undo[1..], &get("/", "")[1..]].concat()),
        ("half".into(), undo[..undo.len() / 2].to_vec()),
        ("old".into(), b"1GET /metrics HTTP/1.0\r\nHost: box.local\r\n\r\n".to_vec()),
    ];
    for path in ["status", "questions", "updates", "openapi.json", "stream?sound=1", "events?limit=5&kind=learned&class=wren&before=9"] {
        let name = path.split(['?', '.']).next().unwrap_or(path);
        seeds.push((format!("get-{name}"), get(&format!("/api/v1/{path}"), "Last-Event-ID: 1\r\n")));
    }
    seeds.extend(["/", "/page.js", "/metrics", "/healthz"].map(|path| (format!("get{}", path.replace('/', "-")), get(path, ""))));
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_is_seen_to_change_something_and_who_may_not_is_not() {
        let (mut taught, mut refused) = (0, 0);
        for (name, seed) in seeds() {
            let before = desk().changes();
            run(&seed);
            let changed = desk().changes() - before;
            match name.as_str() {
                "label" | "label-last" | "label-span" | "undo" | "undo-chunked" => {
                    assert_eq!(changed, 1, "{name}");
                    taught += 1;
                }
                "several" => assert_eq!(changed, 2, "{name}"),
                _ => {
                    assert_eq!(changed, 0, "{name}");
                    refused += 1;
                }
            }
        }
        assert!(taught == 5 && refused > 10);
    }

    #[test]
    fn lines_say_who_may() {
        let may = |text: &str| requests(text.as_bytes()).any(|request| may_change(&request, true));
        let good = format!("POST /api/v1/undo HTTP/1.1\r\nHost: localhost:1\r\nAuthorization: Bearer {TOKEN}\r\n");
        assert!(may(&good) && may(&format!("x{good}Origin: https://localhost:1\r\n\r\n")));
        for wrong in ["Host: localhost\r\n", "Origin: null\r\n", "Sec-Fetch-Site: same-site\r\n", "Authorization: x\r\n"] {
            assert!(!may(&format!("{good}{wrong}")), "{wrong}");
        }
        assert!(!may(&good.replace("localhost", "evil.example")) && !may(&good.replace("Bearer", "Basic")) && !may("GET / HTTP/1.1"));
        assert!(is_own("[::1]:80") && is_own("10.0.0.1") && is_own("BOX.local:1") && !is_own("localhost.evil") && !is_own("[x]"));
    }
}
