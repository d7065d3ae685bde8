//! Events by MQTT through a real broker: what is published and announced, labels and their answers, and what happens when the device or
//! the broker goes.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use wheatear::event::{Event, Sink, What};
use wheatear::learn::label_text;
use wheatear::live::request::{Answered, Request, Target};
use wheatear::sinks::Mqtt;
use wheatear::sinks::mqtt::Settings;
use wheatear::units::Moment;
use wheatear::{Error, ErrorKind, Result};
use wheatear_tests::broker::{Broker, LONG, Listener, Message, free_port};

const PORT: &str = "WHEATEAR_TEST_PORT";

fn broker() -> (TempDir, Broker) {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path(), free_port().unwrap()).unwrap_or_else(|e| panic!("{e}"));
    (folder, broker)
}

fn settings(port: u16) -> Settings {
    Settings { retry_ms: 50, ..Settings::new(&format!("mqtt://127.0.0.1:{port}"), "box") }
}

/// A device, and what it is asked. It answers with one row, and refuses jays.
fn device(settings: &Settings) -> (Mqtt, Receiver<Request>) {
    let (tell, asked) = channel();
    let ask = move |request: Request| -> Result<Answered> {
        let is_jay = matches!(&request, Request::Label { labels, .. } if label_text::text(labels) == "jay");
        tell.send(request).unwrap();
        let refused = || Error::new(ErrorKind::Learn, "no jays").cure("say something else");
        if is_jay { Err(refused()) } else { Ok(Answered { rows: 1, generation: 9, durable: true }) }
    };
    (Mqtt::start(settings, ask).unwrap(), asked)
}

fn heard(id: u64, class: &str) -> Event {
    let at = Moment { wall_ms: Some(1_795_751_374_120), ..Moment::UNKNOWN };
    let (source, class) = ("mic".to_owned(), class.to_owned());
    let what =
        What::Heard { id: Some(id), source, begin_s: 1.5, end_s: 3.0, span: Some((at, at)), class, probability: 0.75, unknown: None };
    Event::new(at, 7, what)
}

fn serving() -> Event {
    let classes = vec!["wren".into(), "jay".into()];
    Event::new(Moment::UNKNOWN, 8, What::Serving { classes, unnamed: 0, took_ms: 1.0, untried: false, refused: None })
}

fn json(message: &Message) -> Value {
    serde_json::from_str(&message.text).unwrap_or_else(|e| panic!("{message:?}: {e}"))
}

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let late = Instant::now() + LONG;
    while !is() {
        assert!(Instant::now() < late, "not within {} s: {what}", LONG.as_secs());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn events_arrive_as_json_and_their_state_stays_with_the_broker() {
    let (_folder, broker) = broker();
    let mut listener = broker.listen().unwrap();
    let (mut device, _asked) = device(&settings(broker.port()));
    let counts = device.counts();
    let events = [heard(1, "みそさざい|a"), serving(), heard(2, "wren")];
    events.iter().for_each(|e| device.take(e).unwrap());
    assert_eq!(listener.under("wheatear/box/status").unwrap().text, "online");
    for event in &events {
        let message = listener.under(&format!("wheatear/box/event/{}", event.what.kind())).unwrap();
        assert_eq!(serde_json::from_value::<Event>(json(&message)).unwrap(), *event);
    }
    until("acknowledged", || counts.sent() == 3);
    // Everything that waited is received before the status.
    drop(device);
    assert_eq!(listener.under("wheatear/box/status").unwrap().text, "offline");
    // Who comes later finds the states, and no events.
    let mut later = broker.listen().unwrap();
    let state = later.under("wheatear/box/heard").unwrap();
    let expected = json!({"class": "wren", "probability": 0.75, "begin": "2026-11-27T03:49:34.120Z", "source": "mic", "id": 2});
    assert!(state.retained && json(&state) == expected, "{state:?}");
    assert_eq!(json(&later.under("wheatear/box/knows").unwrap()), json!({"generation": 8, "classes": 2}));
    assert_eq!(later.under("wheatear/box/status").unwrap().text, "offline");
    assert!(later.rest().iter().all(|m| m.retained && !m.topic.contains("/event/")));
}

#[test]
fn an_event_that_is_too_long_is_refused_and_counted() {
    let (_folder, broker) = broker();
    let (mut device, _asked) = device(&settings(broker.port()));
    let error = device.take(&heard(1, &"x".repeat(wheatear::sinks::mqtt::EVENT_MAX_BYTES))).unwrap_err();
    assert!(error.kind() == ErrorKind::Limit && error.to_string().contains("too long"), "{error}");
    assert_eq!(device.lost(), 1);
}

#[test]
fn what_began_last_stands_though_something_else_ends_later() {
    let (_folder, broker) = broker();
    let mut listener = broker.listen().unwrap();
    let (mut device, _asked) = device(&settings(broker.port()));
    let began = |id, class: &str| {
        let what = What::Began { id, source: "mic".into(), begin: Moment::UNKNOWN, class: class.into(), probability: 0.5, unknown: None };
        Event::new(Moment::UNKNOWN, 7, what)
    };
    let mut states = Vec::new();
    for (event, is_state) in [(began(1, "wren"), true), (began(2, "jay"), true), (heard(1, "wren"), false), (heard(2, "jay"), true)] {
        device.take(&event).unwrap();
        let topic = if is_state { "wheatear/box/heard".to_owned() } else { format!("wheatear/box/event/{}", event.what.kind()) };
        let told = listener.under(&topic).unwrap();
        states.extend(is_state.then(|| json(&told)["id"].as_u64()));
    }
    // Everything that waited is received before the status.
    drop(device);
    assert_eq!((listener.under("wheatear/box/status").unwrap().text, states), ("online".into(), vec![Some(1), Some(2), Some(2)]));
    assert_eq!(listener.under("wheatear/box/status").unwrap().text, "offline");
    assert!(listener.rest().iter().all(|m| m.topic != "wheatear/box/heard"), "the jay was still heard when the wren ended");
}

#[test]
fn the_device_is_announced_to_home_assistant_with_topics_that_are_published() {
    let (_folder, broker) = broker();
    let (mut device, _asked) = device(&Settings { prefix: Some("birds/garden".into()), ..settings(broker.port()) });
    device.take(&heard(1, "wren")).unwrap();
    device.take(&serving()).unwrap();
    let counts = device.counts();
    until("acknowledged", || counts.sent() == 2);
    drop(device);
    let mut listener = broker.listen().unwrap();
    let announced = listener.under("homeassistant/device/wheatear_box/config").unwrap();
    assert!(announced.retained);
    let kept = [listener.under("birds/garden/status"), listener.under("birds/garden/heard"), listener.under("birds/garden/knows")];
    let kept: Vec<String> = kept.into_iter().map(|m| m.unwrap().topic).collect();
    let announced = json(&announced);
    assert!(announced["device"]["identifiers"][0] == "wheatear_box" && announced["origin"]["name"] == "wheatear");
    let components = announced["components"].as_object().unwrap();
    let kinds: Vec<&str> = components.values().map(|c| c["platform"].as_str().unwrap()).collect();
    assert_eq!((kinds.len(), kinds.iter().filter(|k| **k == "binary_sensor").count()), (4, 1), "{components:?}");
    assert!(components.values().all(|c| kept.contains(&c["state_topic"].as_str().unwrap().to_owned())), "{components:?}");
}

#[test]
fn labels_are_taken_and_answered_where_their_asker_wants_it() {
    let (_folder, broker) = broker();
    let (device, asked) = device(&settings(broker.port()));
    let mut listener = broker.listen().unwrap();
    let counts = device.counts();
    until("connected", || counts.is_connected());
    let label = r#"{"target": {"last_ms": 3000}, "labels": "wren;robin", "by": "anna"}"#;
    let wants = ["-D", "publish", "response-topic", "anna/answers", "-D", "publish", "correlation-data", "17"];
    listener.under("wheatear/box/status").unwrap();
    broker.publish("wheatear/box/label", label, &wants).unwrap();
    let Request::Label { target: Target::Span { source: None, begin_ns, end_ns }, labels, by } = asked.recv_timeout(LONG).unwrap() else {
        panic!("a label of the last seconds is about a span that does not move");
    };
    assert_eq!((end_ns - begin_ns, labels, by.as_str()), (3_000_000_000, label_text::parse("wren;robin").unwrap(), "anna"));
    let answer = listener.under("anna/answers").unwrap();
    assert_eq!(json(&answer), json!({"answer": "learned", "rows": 1, "generation": 9, "durable": true}));
    assert_eq!(answer.correlation, "17");

    broker.publish("wheatear/box/undo", r#"{"labels": 2}"#, &[]).unwrap();
    assert_eq!(asked.recv_timeout(LONG).unwrap(), Request::Undo { labels: 2, by: String::new() });
    assert_eq!(json(&listener.under("wheatear/box/answer").unwrap())["answer"], "undone");

    let long = format!(r#"{{"target": {{"event": 1}}, "labels": "{}"}}"#, "a".repeat(5000));
    let jay = r#"{"target": {"event": 1}, "labels": "jay"}"#;
    for (text, code, part) in [(jay, 12, "no jays"), ("{}", 3, "missing field"), (long.as_str(), 3, "too long")] {
        broker.publish("wheatear/box/label", text, &[]).unwrap();
        let answer = json(&listener.under("wheatear/box/answer").unwrap());
        assert!(answer["answer"] == "refused" && answer["code"] == code, "{answer}");
        assert!(answer["text"].as_str().unwrap().contains(part), "{answer}");
    }
    // What is larger than the device said that it takes never comes, and it is still there.
    broker.publish("wheatear/box/label", &"x".repeat(40_000), &[]).unwrap();
    broker.publish("wheatear/box/undo", r#"{"labels": 1}"#, &[]).unwrap();
    assert_eq!(json(&listener.under("wheatear/box/answer").unwrap())["answer"], "undone");
    assert_eq!(asked.try_iter().count(), 2, "the jay and the last");
    drop(device);
}

#[test]
fn a_label_that_the_broker_keeps_is_ignored_at_each_start() {
    let (_folder, broker) = broker();
    let label = r#"{"target": {"last_ms": 3000}, "labels": "wren"}"#;
    broker.publish("wheatear/box/label", label, &["-r"]).unwrap();
    for _ in 0..2 {
        let mut listener = broker.listen().unwrap();
        let (device, asked) = device(&settings(broker.port()));
        let answer = json(&listener.under("wheatear/box/answer").unwrap());
        assert!(answer["text"].as_str().unwrap().contains("retained"), "{answer}");
        broker.publish("wheatear/box/undo", r#"{"labels": 1}"#, &[]).unwrap();
        assert_eq!(asked.recv_timeout(LONG).unwrap(), Request::Undo { labels: 1, by: String::new() });
        assert!(asked.try_recv().is_err());
        drop(device);
    }
    // Deleting it is no request, and one that is kept while the device runs is none either.
    let mut listener = broker.listen().unwrap();
    let (device, asked) = device(&settings(broker.port()));
    assert!(json(&listener.under("wheatear/box/answer").unwrap())["text"].as_str().unwrap().contains("retained"));
    broker.publish("wheatear/box/label", label, &["-r"]).unwrap();
    assert!(json(&listener.under("wheatear/box/answer").unwrap())["text"].as_str().unwrap().contains("retained"));
    broker.publish("wheatear/box/label", "", &["-r"]).unwrap();
    broker.publish("wheatear/box/undo", r#"{"labels": 1}"#, &[]).unwrap();
    assert_eq!(json(&listener.under("wheatear/box/answer").unwrap())["answer"], "undone");
    drop(device);
    assert_eq!(asked.try_iter().count(), 1);
}

#[test]
fn a_device_that_is_killed_is_said_to_be_offline() {
    let (_folder, broker) = broker();
    let mut listener = broker.listen().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["plays_a_device", "--exact", "--ignored", "--test-threads=1"]).env(PORT, broker.port().to_string());
    let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    let arrived = listener.under("wheatear/box/event/heard");
    child.kill().unwrap();
    child.wait().unwrap();
    arrived.unwrap();
    assert_eq!(listener.under("wheatear/box/status").unwrap().text, "online");
    assert_eq!(listener.under("wheatear/box/status").unwrap().text, "offline");
}

/// The other process of the test before.
#[test]
#[ignore = "run by another test"]
fn plays_a_device() {
    let Some(port) = std::env::var(PORT).ok().and_then(|port| port.parse().ok()) else { return };
    let (mut device, asked) = device(&settings(port));
    device.take(&heard(1, "wren")).unwrap();
    // Until it is killed.
    let _ = asked.recv();
}

#[test]
fn events_wait_for_a_broker_that_was_killed_and_for_being_let_in() {
    let (folder, mut broker) = broker();
    broker.know("box", "a secret").unwrap();
    broker.restart().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "a secret\n").unwrap();
    let known = Settings { username: Some("box".into()), password_file: Some(file), ..settings(broker.port()) };
    let (mut device, _asked) = device(&known);
    let counts = device.counts();
    device.take(&heard(1, "wren")).unwrap();
    until("the first event", || counts.sent() == 1);
    // Some are on their way when it is killed, as far as they have been sent by then.
    broker.freeze().unwrap();
    (2..=20).for_each(|id| device.take(&heard(id, "wren")).unwrap());
    std::thread::sleep(Duration::from_millis(200));
    broker.kill();
    until("a lost connection", || !counts.is_connected());
    (21..=40).for_each(|id| device.take(&heard(id, "wren")).unwrap());
    // The broker is back, but knows nobody; who listens is there before the device is let in.
    broker.know("", "").unwrap();
    broker.restart().unwrap();
    let mut listener = broker.listen().unwrap();
    broker.know("box", "a secret").unwrap();
    for id in 2..=40 {
        assert_eq!(json(&listener.under("wheatear/box/event/heard").unwrap())["id"], id);
    }
    device.take(&heard(41, "wren")).unwrap();
    assert_eq!(json(&listener.under("wheatear/box/event/heard").unwrap())["id"], 41);
    until("all acknowledged", || counts.sent() == 41);
    assert_eq!((counts.dropped(), counts.refused()), (0, 0));
    assert!(state(&mut listener).iter().any(|m| m.topic == "wheatear/box/heard"), "states are published again");
    // A label is taken after all that, too.
    broker.publish("wheatear/box/undo", r#"{"labels": 1}"#, &[]).unwrap();
    assert_eq!(json(&listener.under("wheatear/box/answer").unwrap())["answer"], "undone");
}

fn state(listener: &mut Listener) -> Vec<Message> {
    let online = listener.under("wheatear/box/status").unwrap();
    assert_eq!(online.text, "online");
    listener.rest()
}

#[test]
fn without_a_broker_the_newest_events_wait_and_an_end_is_not_held_up() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port().unwrap();
    let (mut device, _asked) = device(&Settings { waiting: 3, ..settings(port) });
    let counts = device.counts();
    let taken: Vec<bool> = (1..=5).map(|id| device.take(&heard(id, "wren")).is_ok()).collect();
    assert_eq!((taken, counts.dropped()), (vec![true, true, true, false, false], 2));
    let broker = Broker::start(folder.path(), port).unwrap();
    until("what waited", || counts.sent() == 3);
    drop(broker);
    until("a lost connection", || !counts.is_connected());
    device.take(&heard(6, "wren")).unwrap();
    let begin = Instant::now();
    drop(device);
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[test]
fn an_end_is_not_held_up_by_a_broker_that_does_not_answer() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    silent.set_nonblocking(true).unwrap();
    let (device, _asked) = device(&settings(silent.local_addr().unwrap().port()));
    let mut arrived = None;
    until("a device", || {
        arrived = silent.accept().ok();
        arrived.is_some()
    });
    let begin = Instant::now();
    drop(device);
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[test]
fn over_tls_a_device_trusts_whom_it_was_told_to_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let openssl = |line: &str| {
        let output = Command::new("openssl").args(line.split_whitespace()).current_dir(folder.path()).output();
        let output = output.unwrap_or_else(|e| panic!("openssl makes the certificates, install the package openssl: {e}"));
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    };
    for authority in ["ours", "other"] {
        openssl(&format!("req -x509 -newkey rsa:2048 -nodes -keyout {authority}.key -out {authority}.pem -days 2 -subj /CN={authority}"));
    }
    std::fs::write(folder.path().join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    openssl("req -newkey rsa:2048 -nodes -keyout broker.key -out broker.csr -subj /CN=broker");
    openssl("x509 -req -in broker.csr -CA ours.pem -CAkey ours.key -CAcreateserial -out broker.pem -days 2 -extfile names");
    let (port, at) = (free_port().unwrap(), |name: &str| folder.path().join(name));
    let more = format!("listener {port} 127.0.0.1\ncertfile {}\nkeyfile {}\n", at("broker.pem").display(), at("broker.key").display());
    let broker = Broker::with(folder.path(), free_port().unwrap(), &more).unwrap_or_else(|e| panic!("{e}"));
    let secure = |authority: &str| Settings {
        ca_file: Some(at(authority)),
        retry_ms: 50,
        ..Settings::new(&format!("mqtts://localhost:{port}"), "box")
    };
    let (misled, _) = device(&secure("other.pem"));
    until("a refusal", || std::fs::read_to_string(at("mosquitto.log")).unwrap().contains("unknown ca"));
    assert!(!misled.counts().is_connected());
    drop(misled);
    let mut listener = broker.listen().unwrap();
    let (mut device, _asked) = device(&secure("ours.pem"));
    device.take(&heard(1, "wren")).unwrap();
    assert_eq!(json(&listener.under("wheatear/box/event/heard").unwrap())["id"], 1);
}

#[test]
fn whatever_a_broker_sends_the_device_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let mad = TcpListener::bind("127.0.0.1:0").unwrap();
    mad.set_nonblocking(true).unwrap();
    let port = mad.local_addr().unwrap().port();
    let (mut device, _asked) = device(&settings(port));
    device.take(&heard(1, "wren")).unwrap();
    let accepted: &[u8] = &[0x20, 3, 0, 0, 0];
    let malformed: [&[u8]; 9] = [
        &[],
        &[0],
        &[0xff; 64],
        &[0x20, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x20, 2, 0, 0],
        &[0x20, 8, 0, 0, 5, 0x1f, 0xff, 0xff, b'a', b'b'],
        // After being let in: a publish without a topic, an acknowledgement of nothing, a publish under an unknown alias.
        &[0x30, 3, 0xff, 0xff, b'a'],
        &[0x40, 2, 0, 99],
        &[0x30, 7, 0, 0, 3, 0x23, 0, 7, b'x'],
    ];
    for (n, bytes) in malformed.iter().enumerate() {
        let mut arrived = None;
        until("a device that comes back", || {
            arrived = mad.accept().ok();
            arrived.is_some()
        });
        let (mut connection, _) = arrived.unwrap();
        connection.set_nonblocking(false).unwrap();
        connection.set_read_timeout(Some(LONG)).unwrap();
        let mut hello = [0; 512];
        assert!(connection.read(&mut hello).unwrap() > 10, "it says who it is");
        // It may hang up in the middle.
        let _ = if n < 6 { connection.write_all(bytes) } else { connection.write_all(&[accepted, bytes].concat()) };
    }
    drop(mad);
    let broker = Broker::start(folder.path(), port).unwrap();
    let counts = device.counts();
    until("a sane broker", || counts.sent() == 1);
    drop((device, broker));
}
