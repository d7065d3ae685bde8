//! The wall clock is set two years forward and back while a daemon hears: faketime stands between it and the system's clock, and the machine's
//! own is never changed. What is measured in time since boot stays right.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use serde_json::{Value, json};
use wheatear::clock::since_boot_ns;

use super::{Client, moment_ns, note, teach};
use crate::command::{Ran, wheatear};
use crate::place::{Place, Running, request, wheateard};

const TWO_YEARS_S: i64 = 2 * 365 * 86_400;
const TOKEN: &str = "a-token-of-some-length";

/// The library that stands between a program and its clock.
fn faketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten().map(|e| e.path().join("faketime/libfaketime.so.1"));
    folders.into_iter().find(|f| f.exists()).expect("libfaketime is missing: install it, or run cargo xtask setup")
}

/// Sets the clock that is read from this file, all at once.
fn set_clock(file: &Path, ahead_s: i64) {
    let new = file.with_extension("new");
    std::fs::write(&new, format!("{ahead_s:+}\n")).unwrap();
    std::fs::rename(new, file).unwrap();
}

/// How far a moment's wall clock is ahead of the true one.
fn ahead_s(moment: &Value) -> f64 {
    let true_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let ago_ms = (since_boot_ns() - moment_ns(moment)) as i64 / 1_000_000;
    (moment["wall_ms"].as_i64().unwrap() - (true_ms - ago_ms)) as f64 / 1e3
}

fn is_near(found: f64, wanted: f64) -> bool {
    (found - wanted).abs() < 1.0
}

/// By how much a notice says that the clock was set.
fn moved_s(notice: &Value) -> f64 {
    assert_eq!((&notice["source"], &notice["level"]), (&json!("clock"), &json!("warning")), "{notice}");
    let text = notice["text"].as_str().unwrap();
    text.strip_prefix("the clock was set by ").and_then(|rest| rest.split(' ').next()).and_then(|s| s.parse().ok()).expect("a number")
}

/// Begin and end of what was heard, in s of the sound; they are as far apart as its moments are, by either clock.
fn heard_s(event: &Value) -> (f64, f64) {
    let (begin, end) = (event["begin_s"].as_f64().unwrap(), event["end_s"].as_f64().unwrap());
    let by_boot = (moment_ns(&event["span"][1]) - moment_ns(&event["span"][0])) as f64 / 1e9;
    let wall = |n: usize| event["span"][n]["wall_ms"].as_i64().unwrap();
    let by_wall = (wall(1) - wall(0)) as f64 / 1e3;
    assert!((end - begin - by_boot).abs() < 1e-3 && (end - begin - by_wall).abs() < 5e-3, "{event}");
    (begin, end)
}

#[test]
fn when_the_clock_jumps_by_two_years_it_is_said_and_nothing_else_goes_wrong() {
    let place = Place::new("[serve]\ntoken_file = \"token\"\n[events]\njsonl = \"events.jsonl\"\nsqlite = \"events.db\"\n");
    std::fs::write(place.path("token"), format!("{TOKEN}\n")).unwrap();
    teach(&place.path("adapter"));
    let clock = place.path("clock");
    set_clock(&clock, 0);
    let mut daemon = wheateard();
    daemon.env("LD_PRELOAD", faketime()).env("FAKETIME_TIMESTAMP_FILE", &clock).env("FAKETIME_NO_CACHE", "1");
    // Only the wall clock, and not the times of files.
    daemon.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("NO_FAKE_STAT", "1");
    let running = place.launch(daemon, "127.0.0.1:0");
    let address = Running::address(&running.told("READY=1"));
    let client = Client { address: address.clone(), headers: format!("Authorization: Bearer {TOKEN}\r\n") };
    client.notice(0, "hears ");
    let (_, first, _) = client.knows(&place, "Cello");
    assert!(is_near(ahead_s(&first["at"]), 0.0), "{first}");

    set_clock(&clock, TWO_YEARS_S);
    let (set, notice) = client.notice(0, "the clock was set by ");
    assert!(is_near(moved_s(&notice), TWO_YEARS_S as f64), "{notice}");
    // An event that was told before is found.
    let learned = client.label(&json!({"event": first["id"]}), "robin", "after the jump");
    assert!(learned["rows"].as_u64() > Some(0), "{learned}");
    let (_, told) = client.event(set, "learned", |e| e["event"] == "learned" && e["by"] == "after the jump");
    assert!(is_near(ahead_s(&told["at"]), TWO_YEARS_S as f64), "{told}");
    assert_eq!(request(&address, "GET", "/api/v1/status", "").0, 401, "the token is needed as before");

    // Back again, in the midst of a note.
    let (before, begun_ns) = (client.newest(), since_boot_ns());
    let mut player = place.server.play(&note("Church Organ", 0)).unwrap();
    let (_, began) = client.event(before, "a note", |e| e["event"] == "began");
    assert!(is_near(ahead_s(&began["begin"]), TWO_YEARS_S as f64), "{began}");
    set_clock(&clock, 0);
    let (_, notice) = client.notice(set, "the clock was set by -");
    assert!(is_near(moved_s(&notice), -TWO_YEARS_S as f64), "{notice}");
    assert!(player.wait().unwrap().success());
    let (_, second) = client.event(before, "the note", |e| e["event"] == "heard" && e["id"] == began["id"]);
    assert!(is_near(ahead_s(&second["span"][0]), 0.0), "{second}");
    let ((begin_1, end_1), (begin_2, end_2)) = (heard_s(&first), heard_s(&second));
    let took_s = (since_boot_ns() - begun_ns) as f64 / 1e9;
    assert!(end_1 <= begin_2 && begin_2 < end_2 && end_2 - begin_2 < took_s + 1.1, "{first}\n{second}");
    let apart_s = (moment_ns(&second["span"][0]) - moment_ns(&first["span"][0])) as f64 / 1e9;
    assert!((begin_2 - begin_1 - apart_s).abs() < 1e-3, "{first}\n{second}");

    // What was said between the jumps is taken back, and all of it was written.
    let undone = client.undo("after both");
    assert_eq!(undone["rows"], learned["rows"]);
    let (newest, _) = client.event(set, "undone", |e| e["event"] == "undone" && e["by"] == "after both");
    client.knows(&place, "Cello");
    let events = client.get("/api/v1/events?limit=500");
    let numbers: Vec<u64> = events.as_array().unwrap().iter().map(|e| e["number"].as_u64().unwrap()).collect();
    assert!(numbers[0] > newest && numbers.windows(2).all(|n| n[0] == n[1] + 1), "{numbers:?}");
    running.signal(Signal::TERM);
    assert_eq!(running.ends(), 0, "{}", place.log());
    let lines = std::fs::read_to_string(place.path("events.jsonl")).unwrap();
    let written: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(written.len() >= numbers.len(), "{} lines, {} events", written.len(), numbers.len());
    let at: Vec<u64> = written.iter().map(|event| moment_ns(&event["at"])).collect();
    assert!(at.is_sorted(), "by the clock that never jumps they are in order");
    Ran::from(wheatear().arg("verify").arg(place.path("adapter")).output().unwrap()).ok();
}
