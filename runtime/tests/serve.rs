//! The API of a daemon, over real connections.

#![cfg(feature = "serve")]

mod desk;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use desk::*;
use serde_json::{Value, json};
use wheatear::daemon::Settings;
use wheatear::event::Event;
use wheatear::serve::watch::Watch;
use wheatear::serve::{About, BODY_LEN_BYTES, BackboneFacts, CONNECTIONS, ServeSettings, Server};

const TOKEN: &str = "a-token-of-some-length";

/// A served daemon.
struct Served {
    desk: Desk,
    server: Server,
}

/// What came back.
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Served {
    fn new(token: Option<&str>) -> Served {
        let watch = Watch::new();
        let settings = Settings { picture: true, ask_per_hour: 3600.0, ask_doubt: 0.02, ..Settings::default() };
        let desk = Desk::with(1, vec![Box::new(watch.clone())], false, &settings);
        let backbone =
            BackboneFacts { name: "tones".into(), dim: 8, rate_hz: 16_000, window_ms: 100.0, hop_ms: 50.0, provider: "none".into() };
        let about = About { backbone, microphones: vec!["mic 0".into()], rest: Duration::ZERO };
        let settings = ServeSettings { address: "127.0.0.1:0".parse().unwrap(), hosts: vec![], token: token.map(str::to_owned), tls: None };
        let server = Server::start(&settings, watch, desk.daemon().handle().clone(), about, None).unwrap();
        Served { desk, server }
    }

    fn send(&self, request: &str) -> Reply {
        send(self.server.address(), request)
    }

    fn get(&self, path: &str) -> Reply {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    }

    fn post(&self, path: &str, more: &str, body: &str) -> Reply {
        let length = body.len();
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n{body}"
        ))
    }

    /// The JSON of an answer, as the contract says for this path and status.
    fn checked(&self, method: &str, path: &str, reply: &Reply) -> Value {
        let contract: Value = serde_json::from_str(&self.get("/api/v1/openapi.json").body).unwrap();
        let route = path.split('?').next().unwrap();
        let schema = &contract["paths"][route][method]["responses"][reply.status.to_string()]["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{method} {path} may not answer {}: {}", reply.status, reply.body);
        let schema = json!({"allOf": [schema], "components": contract["components"]});
        let value: Value = serde_json::from_str(&reply.body).unwrap_or_else(|e| panic!("{path}: {e}: {}", reply.body));
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<String> = validator.iter_errors(&value).map(|e| format!("{e} at {}", e.instance_path)).collect();
        assert!(errors.is_empty(), "{path}: {errors:?}: {value}");
        value
    }
}

fn send(address: SocketAddr, request: &str) -> Reply {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // A refusal may come before everything is sent.
    _ = stream.write_all(request.as_bytes());
    let mut bytes = Vec::new();
    _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    Reply { status, head: head.to_lowercase(), body: body.to_owned() }
}

/// Messages of the stream, as name, id and data.
struct Messages(BufReader<TcpStream>);

impl Messages {
    fn open(served: &Served, path: &str, more: &str) -> Messages {
        let mut stream = TcpStream::connect(served.server.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n").unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert!(line.contains("200"), "{line}");
        Messages(reader)
    }

    fn next(&mut self) -> (String, Option<u64>, Value) {
        let (mut name, mut id, mut data) = (String::new(), None, Value::Null);
        // Comments show that the line is up, and are no message.
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            assert!(Instant::now() < until, "no message in time");
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream ended");
            let line = line.trim_end();
            if let Some(text) = line.strip_prefix("event: ") {
                name = text.to_owned();
            } else if let Some(text) = line.strip_prefix("id: ") {
                id = text.parse().ok();
            } else if let Some(text) = line.strip_prefix("data: ") {
                data = serde_json::from_str(text).unwrap();
            } else if line.is_empty() && !name.is_empty() && !data.is_null() {
                return (name, id, data);
            }
        }
    }

    fn wait_for(&mut self, what: &str, is: impl Fn(&str, &Value) -> bool) -> (Option<u64>, Value) {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let (name, id, data) = self.next();
            if is(&name, &data) {
                return (id, data);
            }
            assert!(Instant::now() < until, "{what}: not in time");
        }
    }
}

#[test]
fn a_sound_is_heard_labelled_known_and_taken_back_over_the_api() {
    let mut served = Served::new(None);
    for _ in 0..2 {
        served.desk.learn(0, 500.0, "low");
        served.desk.learn(0, 1500.0, "high");
    }
    let mut messages = Messages::open(&served, "/api/v1/stream?sound=1", "");
    served.desk.play(0, 500.0);
    let (_, event) = messages.wait_for("low", |name, data| name == "event" && data["event"] == "began" && data["class"] == "low");
    let (_, window) = messages.wait_for("a window", |name, _| name == "window");
    assert_eq!(window["guesses"][0][0], "low", "{window}");
    messages.wait_for("a picture", |name, data| name == "sound" && data["bands"] == 64);

    let label = json!({"target": {"event": event["id"]}, "labels": "lower;!low", "by": "Åsa"}).to_string();
    let reply = served.post("/api/v1/labels", "", &label);
    let learned = served.checked("post", "/api/v1/labels", &reply);
    assert!(learned["rows"].as_u64() > Some(0) && learned["durable"] == true, "{learned}");
    let (number, _) = messages.wait_for("learned", |name, data| name == "event" && data["event"] == "learned" && data["by"] == "Åsa");
    messages.wait_for("a head", |name, data| name == "event" && data["event"] == "serving");

    // What was told before is told again to who asks for it.
    let mut again = Messages::open(&served, "/api/v1/stream", &format!("Last-Event-ID: {}\r\n", number.unwrap() - 1));
    let (name, id, data) = again.next();
    assert_eq!((name.as_str(), id, &data["by"]), ("event", number, &json!("Åsa")));

    let status = served.checked("get", "/api/v1/status", &served.get("/api/v1/status"));
    let classes: Vec<&str> = status["adapter"]["classes"].as_array().unwrap().iter().filter_map(|c| c["class"].as_str()).collect();
    assert_eq!(classes, ["high", "low", "lower"], "{status}");
    let undone = served.checked("post", "/api/v1/undo", &served.post("/api/v1/undo", "", "{}"));
    assert_eq!(undone["rows"], learned["rows"]);
    messages.wait_for("who did it", |name, data| name == "event" && data["event"] == "undone" && data["by"] == "page");

    let path = "/api/v1/events?kind=learned&class=lower";
    let events = served.checked("get", path, &served.get(path));
    assert_eq!(events.as_array().unwrap().len(), 1, "{events}");
    let before = events[0]["number"].as_u64().unwrap();
    let path = format!("/api/v1/events?limit=3&before={before}");
    let earlier = served.checked("get", &path, &served.get(&path));
    let numbers: Vec<u64> = earlier.as_array().unwrap().iter().map(|e| e["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [before - 1, before - 2, before - 3]);
    let updates = served.checked("get", "/api/v1/updates", &served.get("/api/v1/updates"));
    assert!(updates.as_array().unwrap().len() >= 5, "{updates}");
    served.checked("get", "/api/v1/questions", &served.get("/api/v1/questions"));
    let metrics = served.get("/metrics").body;
    assert!(metrics.contains("\nwheatear_classes 2\n") && metrics.contains("# TYPE wheatear_windows_total counter"), "{metrics}");
    let backbone = metrics.lines().find_map(|line| line.strip_prefix("wheatear_backbone_cpu_seconds_total "));
    assert!(metrics.contains("\nwheatear_microphone_window_age_seconds{microphone=\"mic 0\"} "), "{metrics}");
    assert!(backbone.is_some_and(|s| s.parse::<f64>().is_ok_and(|s| s > 0.0)), "{metrics}");
    assert_eq!((served.get("/healthz").status, served.get("/healthz").body.as_str()), (200, "ok\n"));
}

#[test]
fn every_route_is_in_the_contract_and_every_path_of_the_contract_answers() {
    let served = Served::new(None);
    let contract: Value = serde_json::from_str(&served.get("/api/v1/openapi.json").body).unwrap();
    for (path, methods) in contract["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let reply = match (method.as_str(), path.as_str()) {
                (_, "/api/v1/stream") => continue,
                ("get", _) => served.get(path),
                (_, _) => served.post(path, "", "{\"no\": 1}"),
            };
            assert!(![404, 405, 500].contains(&reply.status), "{method} {path}: {}", reply.status);
            if reply.head.contains("application/json") {
                served.checked(method, path, &reply);
            }
            // The other way is refused.
            let other = if method == "get" { served.post(path, "", "{}") } else { served.get(path) };
            assert_eq!(other.status, 405, "{path}");
        }
    }
    let router = include_str!("../src/serve/api.rs");
    for route in router.split(".route(\"").skip(1).filter_map(|r| r.split('"').next()) {
        let known = |prefix: &str| contract["paths"].get(format!("{prefix}{route}")).is_some();
        assert!(known("") || known("/api/v1"), "{route} is not in the contract");
    }
}

#[test]
fn bad_requests_are_refused_with_why_and_change_nothing() {
    let mut served = Served::new(None);
    served.desk.play(0, 500.0);
    let before = served.get("/api/v1/status").body;
    let generation = |status: &str| serde_json::from_str::<Value>(status).unwrap()["adapter"]["generation"].clone();
    for (path, body, part) in [
        ("/api/v1/labels", "", "cannot be read"),
        ("/api/v1/labels", "[]", "cannot be read"),
        ("/api/v1/labels", r#"{"target": {"last_ms": 500}, "labels": "low", "extra": 1}"#, "extra"),
        ("/api/v1/labels", r#"{"target": {"last_ms": 500, "event": 1}, "labels": "low"}"#, "exactly one"),
        ("/api/v1/labels", r#"{"target": {}, "labels": "low"}"#, "exactly one"),
        ("/api/v1/labels", r#"{"target": {"last_ms": 0}, "labels": "low"}"#, "cannot reach that far"),
        ("/api/v1/labels", r#"{"target": {"span_ns": [7, 7]}, "labels": "low"}"#, "exactly one"),
        ("/api/v1/labels", r#"{"target": {"last_ms": 500, "microphone": 0}, "labels": "low"}"#, "exactly one"),
        ("/api/v1/labels", r#"{"target": {"last_ms": 500, "microphone": 2}, "labels": "low"}"#, "no such microphone"),
        ("/api/v1/labels", r#"{"target": {"event": 18446744073709551615}, "labels": "low"}"#, "no event of this id"),
        ("/api/v1/labels", r#"{"target": {"event": -1}, "labels": "low"}"#, "cannot be read"),
        ("/api/v1/labels", r#"{"target": {"last_ms": 500}, "labels": "low;low"}"#, "said twice"),
        ("/api/v1/labels", r#"{"target": {"last_ms": 500}, "labels": "low", "by": "\u0007"}"#, "name of who asks"),
        ("/api/v1/undo", r#"{"labels": 0}"#, "1 to 256"),
        ("/api/v1/undo", "{}", "taken back"),
    ] {
        let reply = served.post(path, "", body);
        let error = served.checked("post", path, &reply);
        assert!((400..500).contains(&reply.status), "{body}: {}", reply.status);
        assert!(error["error"]["text"].as_str().unwrap().contains(part), "{body}: {error}");
    }
    assert_eq!(served.post("/api/v1/labels", "", r#"{"target": {"event": 99}, "labels": "low"}"#).status, 404);
    for path in [
        "/api/v1/stream?sound=2",
        "/api/v1/stream?sounds=1",
        "/api/v1/events?limit=0",
        "/api/v1/events?limit=501",
        "/api/v1/events?before=x",
        "/api/v1/events?other=1",
    ] {
        assert_eq!(served.get(path).status, 400, "{path}");
    }
    for path in
        ["/..%2f..%2fetc/passwd", "/page/../../etc/passwd", "//etc/passwd", "/api/v1/../../metrics", "/page.js/", "/%00", "/api/v1/Status"]
    {
        assert_eq!(served.get(path).status, 404, "{path}");
    }
    assert_eq!(generation(&before), generation(&served.get("/api/v1/status").body));
}

#[test]
fn a_body_that_is_too_long_of_another_kind_or_of_another_site_is_refused() {
    let served = Served::new(None);
    let long = format!("{{\"labels\": \"{}\"}}", "x".repeat(BODY_LEN_BYTES));
    let reply = served.post("/api/v1/labels", "", &long);
    assert_eq!(reply.status, 413, "{}", reply.body);
    served.checked("post", "/api/v1/labels", &reply);
    // Nobody waits for the end of what says that it is longer than it may be, nor of what does not say.
    let endless = "POST /api/v1/labels HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000)).repeat(8);
    assert_eq!(served.send(&format!("{endless}{chunk}")).status, 413);
    let form =
        "POST /api/v1/undo HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    assert_eq!(served.send(form).status, 415);
    assert_eq!(served.post("/api/v1/undo", "Origin: http://evil.example\r\n", "{}").status, 403);
    assert_eq!(served.post("/api/v1/undo", "Sec-Fetch-Site: cross-site\r\n", "{}").status, 403);
    assert_eq!(served.send("GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n").status, 403);
    assert_eq!(served.send("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").status, 403);
    let page = served.get("/");
    assert!(page.status == 200 && page.head.contains("content-security-policy: default-src 'none'; script-src 'self'"), "{}", page.head);
    assert!(!page.head.contains("access-control-allow"), "{}", page.head);
}

#[test]
fn without_the_token_nothing_is_told_and_nothing_learned() {
    let served = Served::new(Some(TOKEN));
    for path in ["/api/v1/status", "/api/v1/stream", "/api/v1/events", "/metrics", "/api/v1/openapi.json"] {
        let reply = served.get(path);
        assert!(reply.status == 401 && reply.head.contains("www-authenticate: bearer"), "{path}: {}", reply.status);
    }
    assert_eq!(served.post("/api/v1/undo", "Authorization: Bearer a-token-of-some-lengtx\r\n", "{}").status, 401);
    assert_eq!((served.get("/").status, served.get("/healthz").status), (200, 200));
    let authorised = format!("Authorization: Bearer {TOKEN}\r\n");
    let status = served.send(&format!("GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{authorised}\r\n"));
    assert_eq!(status.status, 200);
    assert_eq!(served.post("/api/v1/undo", &authorised, "{}").status, 400, "there is nothing to take back");
}

#[test]
fn clients_that_stall_or_flood_stop_nobody() {
    let mut served = Served::new(None);
    for _ in 0..2 {
        served.desk.learn(0, 500.0, "low");
        served.desk.learn(0, 1500.0, "high");
    }
    // As many as there is room for: half-said requests, and streams that nobody reads.
    let address = served.server.address();
    let mut stalled: Vec<TcpStream> = (0..CONNECTIONS - 10).map(|_| TcpStream::connect(address).unwrap()).collect();
    for (n, stream) in stalled.iter_mut().enumerate() {
        match n % 2 {
            0 => stream.write_all(b"POST /api/v1/labels HTTP/1.1\r\nHost: local").unwrap(),
            _ => stream.write_all(b"GET /api/v1/stream?sound=1 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap(),
        }
    }
    // And some that ask without a pause, for as long as sound is heard.
    let stop = Arc::new(AtomicBool::new(false));
    let ask = |stop: Arc<AtomicBool>| {
        move || {
            while !stop.load(Relaxed) {
                send(address, "GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            }
        }
    };
    let askers: Vec<_> = (0..8).map(|_| std::thread::spawn(ask(stop.clone()))).collect();
    for _ in 0..3 {
        let (begin_ns, _) = served.desk.play(0, 500.0);
        // What is heard meanwhile is told.
        let is_low = |e: &Event| began(e).filter(|(class, _, begun)| class == "low" && *begun + 150_000_000 >= begin_ns);
        served.desk.event("what is heard", is_low);
        served.desk.play(0, 1500.0);
    }
    stop.store(true, Relaxed);
    askers.into_iter().for_each(|asker| asker.join().unwrap());
    let counts = served.desk.daemon().handle().counts().unwrap();
    assert_eq!((counts.windows_dropped, counts.windows_skipped, counts.frames_lost), (0, 0, 0));
    assert_eq!(served.get("/api/v1/status").status, 200);
    // Who has gone makes room.
    drop(stalled);
    let until = Instant::now() + Duration::from_secs(30);
    while served.get("/metrics").body.lines().all(|l| l != "wheatear_clients 0") {
        assert!(Instant::now() < until, "streams stay open");
        served.desk.play(0, 500.0);
    }
}
