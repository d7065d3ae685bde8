//! It is killed, or told to stop, while labels stream in; and it is told to read a broken configuration. Whatever was acknowledged is there
//! afterwards, and no label is there in part.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Client, moment_ns, note, teach};
use crate::command::{Ran, wheatear};
use crate::place::{LONG, Place, Running, request_with};

/// Windows of a label.
const ROWS: usize = 3;
/// Labels that are said at once.
const SPEAKERS: usize = 2;

/// A connection to the stream of events and windows.
struct Watching(TcpStream);

impl Watching {
    fn new(address: &str) -> Watching {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        write!(stream, "GET /api/v1/stream?sound=1 HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
        Watching(stream)
    }

    /// The windows that are told, until `count` of them sound.
    fn sounding(&self, count: usize) -> Vec<Value> {
        let (mut windows, mut is_window) = (Vec::new(), false);
        for line in BufReader::new(&self.0).lines().map(Result::unwrap) {
            match line.strip_prefix("data:") {
                Some(data) if is_window => windows.push(serde_json::from_str::<Value>(data).unwrap()),
                _ => is_window = line.trim_end() == "event: window",
            }
            if windows.iter().filter(|w| w["silent"] == false).count() >= count {
                return windows;
            }
        }
        panic!("the stream ended after {} windows", windows.len());
    }
}

/// Plays notes until spans of [`ROWS`] sounding windows have been heard, so many, which share none.
fn spans(place: &Place, client: &Client, count: usize) -> Vec<(u64, u64)> {
    let watching = Watching::new(&client.address);
    let windows = std::thread::scope(|scope| {
        let hearing = scope.spawn(|| watching.sounding((count + 2) * ROWS));
        let mut n = 0;
        while !hearing.is_finished() {
            assert!(place.server.play(&note("Church Organ", n % 6)).unwrap().wait().unwrap().success());
            n += 1;
            assert!(n < 60, "nothing is heard: {}", place.log());
        }
        hearing.join().unwrap()
    });
    let hop_ns = client.get("/api/v1/status")["backbone"]["hop_ms"].as_f64().unwrap() * 1e6;
    // Windows are twice as long as a hop: the middle of each is a hop before its end, and a span has those whose middle it has.
    let ends: Vec<f64> = windows.iter().map(|w| moment_ns(&w["at"]) as f64).collect();
    let is_whole = |n: &usize| (*n..n + ROWS).all(|n| windows[n]["silent"] == false);
    let spans = (0..=windows.len() - ROWS).step_by(ROWS).filter(is_whole);
    let of = |n: usize| ((ends[n] - 1.5 * hop_ns) as u64, (ends[n + ROWS - 1] - 0.5 * hop_ns) as u64);
    let spans: Vec<(u64, u64)> = spans.map(of).take(count).collect();
    assert!(spans.len() * 2 > count, "{windows:?}");
    spans
}

/// Labels on their way.
struct Speaking {
    threads: Vec<JoinHandle<()>>,
    acknowledged: Arc<AtomicUsize>,
    /// Who said each that was said, and whether that was acknowledged.
    said: Arc<Mutex<BTreeMap<String, bool>>>,
}

impl Speaking {
    /// Says what is in the spans, one label each, without a pause.
    fn start(client: &Client, spans: &[(u64, u64)], round: usize) -> Speaking {
        let (acknowledged, said) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(BTreeMap::new())));
        let speaker = |speaker: usize| {
            let (address, acknowledged, said) = (client.address.clone(), acknowledged.clone(), said.clone());
            let spans: Vec<(usize, (u64, u64))> = spans.iter().copied().enumerate().skip(speaker).step_by(SPEAKERS).collect();
            std::thread::spawn(move || {
                for (n, span) in spans {
                    let by = format!("{round}-{n}");
                    said.lock().unwrap().insert(by.clone(), false);
                    let label = json!({"target": {"span_ns": span}, "labels": format!("class {}", n % 3), "by": by}).to_string();
                    match request_with(&address, "POST", "/api/v1/labels", "", &label) {
                        Ok((200, answer)) => {
                            assert!(answer.is_null() || (answer["durable"] == true && answer["rows"] == ROWS), "{by}: {answer}");
                            said.lock().unwrap().insert(by, true);
                            acknowledged.fetch_add(1, SeqCst);
                        }
                        // A daemon that ends may have no time for it.
                        Ok((503, _) | (0, _)) | Err(_) => return,
                        Ok(other) => panic!("{by}: {other:?}"),
                    }
                }
            })
        };
        Speaking { threads: (0..SPEAKERS).map(speaker).collect(), acknowledged, said }
    }

    /// Until so many are acknowledged, and then a moment.
    fn wait(&self, count: usize, then: Duration) {
        let until = Instant::now() + LONG;
        while self.acknowledged.load(SeqCst) < count {
            assert!(Instant::now() < until && !self.threads.iter().all(JoinHandle::is_finished), "labels are not acknowledged");
            std::thread::yield_now();
        }
        let until = Instant::now() + then;
        while Instant::now() < until {
            std::hint::spin_loop();
        }
    }

    /// Everything that was said.
    fn end(self) -> BTreeMap<String, bool> {
        self.threads.into_iter().for_each(|t| t.join().unwrap());
        std::mem::take(&mut *self.said.lock().unwrap())
    }
}

/// Each label that was acknowledged is in the adapter, and none is there in part.
fn all_are_there(place: &Place, said: &BTreeMap<String, bool>) {
    let listed = Ran::from(wheatear().args(["inspect", "--rows", "--json"]).arg(place.path("adapter")).output().unwrap()).ok().json();
    let mut rows = BTreeMap::<&str, usize>::new();
    listed["rows"].as_array().unwrap().iter().for_each(|row| *rows.entry(row["by"].as_str().unwrap()).or_default() += 1);
    for (by, acknowledged) in said {
        match rows.remove(by.as_str()) {
            Some(found) => assert_eq!(found, ROWS, "label {by} is there in part"),
            None => assert!(!acknowledged, "label {by} was acknowledged, and is lost"),
        }
    }
    assert!(rows.is_empty(), "nobody said {rows:?}");
    Ran::from(wheatear().arg("verify").arg(place.path("adapter")).output().unwrap()).ok();
}

#[test]
fn killed_at_any_moment_it_has_every_label_that_it_acknowledged_and_none_in_part() {
    let place = Place::new("");
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut all = BTreeMap::new();
    for round in 0..4 {
        let mut running = place.start();
        let client = Client::new(&Running::address(&running.told("READY=1")));
        let spans = spans(&place, &client, 8);
        let speaking = Speaking::start(&client, &spans, round);
        // In its first checkpoint, too, which follows the first head.
        speaking.wait(random.random_range(0..spans.len() / 2), Duration::from_micros(random.random_range(0..30_000)));
        running.child.kill().unwrap();
        running.child.wait().unwrap();
        let said = speaking.end();
        println!("round {round}: {} of {} acknowledged", said.values().filter(|a| **a).count(), spans.len());
        all.extend(said);
        all_are_there(&place, &all);
    }
    let of = |acknowledged| all.values().filter(|a| **a == acknowledged).count();
    assert!(of(true) > 0 && of(false) > 0, "some were acknowledged, and some cut off: {all:?}");
    let running = place.start();
    running.told("READY=1");
    running.signal(Signal::TERM);
    assert_eq!(running.ends(), 0, "{}", place.log());
    all_are_there(&place, &all);
}

#[test]
fn told_to_stop_while_it_learns_and_clients_hang_it_ends_well_with_everything_that_it_acknowledged() {
    let place = Place::new("");
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let mut all = BTreeMap::new();
    for round in 0..2 {
        let running = place.start();
        let client = Client::new(&Running::address(&running.told("READY=1")));
        let spans = spans(&place, &client, 8);
        // They read nothing, and one has not even asked for anything.
        let hanging: Vec<Watching> = (0..8).map(|_| Watching::new(&client.address)).collect();
        let mut half = TcpStream::connect(&client.address).unwrap();
        half.write_all(b"POST /api/v1/labels HTTP/1.1\r\nHost: local").unwrap();
        let speaking = Speaking::start(&client, &spans, round);
        speaking.wait(random.random_range(1..4), Duration::from_micros(random.random_range(0..30_000)));
        running.signal(Signal::TERM);
        running.told("STOPPING=1");
        assert_eq!(running.ends(), 0, "{}", place.log());
        drop((hanging, half));
        all.extend(speaking.end());
        all_are_there(&place, &all);
    }
}

#[test]
fn a_broken_configuration_is_said_with_what_is_wrong_and_the_one_before_holds_on() {
    let place = Place::new("[classify]\nmin_probability = 0.5\n");
    teach(&place.path("adapter"));
    let running = place.start();
    let client = Client::new(&Running::address(&running.told("READY=1")));
    client.notice(0, "hears ");
    client.knows(&place, "Cello");
    let said = |parts: &[&str]| {
        let before = place.log().lines().count();
        running.signal(Signal::HUP);
        running.told("RELOADING=1");
        running.told("READY=1");
        let log = place.log();
        let new = log.lines().skip(before).collect::<Vec<_>>().join("\n");
        assert!(new.contains("the configuration before holds on"), "{log}");
        ["wheatear.toml"].iter().chain(parts).for_each(|part| assert!(new.contains(part), "no {part:?} in {new}"));
    };
    // Each would hear nothing any more if a part of it were taken.
    let deaf = "[classify]\nmin_probability = 1.0\n";
    for (more, parts) in [
        (format!("{deaf}[listen\n"), &["line"][..]),
        (format!("{deaf}[listen]\nask_per_hours = 1\n"), &["ask_per_hours"]),
        (format!("{deaf}[listen]\nmin_ms = \"long\"\n"), &["min_ms"]),
        (format!("{deaf}[listen]\nend_probability = 2.0\n"), &["listen.end_probability", "0 to 1"]),
        (format!("{deaf}[serve]\nkey = \"key.pem\"\n"), &["serve.certificate"]),
    ] {
        place.configure(&more);
        said(parts);
    }
    std::fs::remove_file(place.path("wheatear.toml")).unwrap();
    said(&["No such file"]);
    client.knows(&place, "Church Organ");
    place.configure("[classify]\nmin_probability = 0.6\n");
    running.signal(Signal::HUP);
    running.told("READY=1");
    assert!(place.log().contains("the configuration was read again"), "{}", place.log());
    running.signal(Signal::TERM);
    assert_eq!(running.ends(), 0, "{}", place.log());
}
