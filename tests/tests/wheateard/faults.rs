//! Faults with the real daemon, as a user sees them: the sound goes and comes back ([`sound`]), the disk is full ([`disk`]), the clock jumps
//! ([`clock`]), it is killed or told to stop while it learns ([`ending`]).

mod clock;
mod disk;
mod ending;
mod sound;

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};
use wheatear::clock::since_boot_ns;
use wheatear_tests::live::{self, KNOWN};

use crate::command::{Ran, root, wheatear};
use crate::place::{LONG, Place, request_with};

/// A note of an instrument; those of [`KNOWN`] are taught up to the sixth.
fn note(instrument: &str, n: usize) -> PathBuf {
    live::notes(&root().join("target/assets/sounds/instruments"), instrument).unwrap()[n].clone()
}

/// Teaches a new adapter in `folder` three instruments, so that a note of them is an event.
fn teach(folder: &Path) {
    let sounds = tempfile::tempdir().unwrap();
    for instrument in KNOWN {
        let known = sounds.path().join(instrument);
        std::fs::create_dir(&known).unwrap();
        for n in 0..6 {
            let note = note(instrument, n);
            std::fs::copy(&note, known.join(note.file_name().unwrap())).unwrap();
        }
    }
    let backbone = root().join("target/assets/models/aisfx");
    let mut teach = wheatear();
    teach.arg("teach").arg(sounds.path()).arg("--adapter").arg(folder).arg("--backbone").arg(backbone);
    Ran::from(teach.output().unwrap()).ok();
}

/// Speaks to a daemon, with more headers than usual.
struct Client {
    address: String,
    headers: String,
}

impl Client {
    /// Of a daemon that needs no token.
    fn new(address: &str) -> Client {
        Client { address: address.to_owned(), headers: String::new() }
    }

    fn get(&self, path: &str) -> Value {
        let (status, answer) = request_with(&self.address, "GET", path, &self.headers, "").unwrap();
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        request_with(&self.address, "POST", path, &self.headers, &body.to_string()).unwrap()
    }

    /// Says what sounded; the answer, which says that it is safe.
    fn label(&self, target: &Value, class: &str, by: &str) -> Value {
        let (status, answer) = self.post("/api/v1/labels", &json!({"target": target, "labels": class, "by": by}));
        assert!(status == 200 && answer["durable"] == true, "{by}: {status} {answer}");
        answer
    }

    fn undo(&self, by: &str) -> Value {
        let (status, answer) = self.post("/api/v1/undo", &json!({"by": by}));
        assert!(status == 200 && answer["durable"] == true, "{by}: {status} {answer}");
        answer
    }

    /// The first event behind number `after` that `is` wanted, with its number.
    fn event(&self, after: u64, what: &str, is: impl Fn(&Value) -> bool) -> (u64, Value) {
        let until = Instant::now() + LONG;
        loop {
            let events = self.get("/api/v1/events?limit=500");
            let newest_first = events.as_array().unwrap().iter().map(|e| (e["number"].as_u64().unwrap(), &e["event"]));
            let found = newest_first.filter(|(number, event)| *number > after && is(event)).last();
            if let Some((number, event)) = found {
                return (number, event.clone());
            }
            assert!(Instant::now() < until, "{what}: not in time: {events:#}");
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }

    /// Number of the newest event.
    fn newest(&self) -> u64 {
        self.get("/api/v1/events?limit=1")[0]["number"].as_u64().unwrap_or(0)
    }

    /// The notice behind number `after` that begins so.
    fn notice(&self, after: u64, begin: &str) -> (u64, Value) {
        self.event(after, begin, |event| event["text"].as_str().is_some_and(|text| text.starts_with(begin)))
    }

    /// Windows that were answered so far.
    fn windows(&self) -> u64 {
        self.get("/api/v1/status")["counts"]["windows"].as_u64().unwrap()
    }

    /// Waits until `more` windows were answered.
    fn hears(&self, more: u64) {
        let (before, until) = (self.windows(), Instant::now() + LONG);
        while self.windows() < before + more {
            assert!(Instant::now() < until, "it hears nothing: {}", self.get("/api/v1/status"));
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }

    /// Rows of each class.
    fn rows(&self) -> Vec<(String, u64)> {
        let status = self.get("/api/v1/status");
        let row = |c: &Value| (c["class"].as_str().unwrap().to_owned(), c["rows"].as_u64().unwrap());
        status["adapter"]["classes"].as_array().unwrap().iter().map(row).collect()
    }

    /// Plays a note that it knows: the event that says so, with its number, and when the note was played.
    fn knows(&self, place: &Place, instrument: &str) -> (u64, Value, (u64, u64)) {
        let (before, begun_ns) = (self.newest(), since_boot_ns());
        place.play(&note(instrument, 0));
        let (number, event) = self.event(before, instrument, |e| e["event"] == "heard" && e["class"] == instrument);
        let played = (begun_ns, since_boot_ns());
        let (begin, end) = (moment_ns(&event["span"][0]), moment_ns(&event["span"][1]));
        // The first window may begin before the note.
        assert!(begin + 1_100_000_000 > played.0 && begin < end && end < played.1, "{played:?}: {event}");
        (number, event, played)
    }
}

/// A moment of an event, by the clock that never jumps.
fn moment_ns(moment: &Value) -> u64 {
    moment["monotonic_ns"].as_u64().unwrap()
}
