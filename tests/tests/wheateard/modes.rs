//! What a box in a tree is set to: clips that only their owner can open, turns of hearing, a spared board, another adapter from the host.

use std::io::{Cursor, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use wheatear_tests::live;

use crate::command::{Ran, root, wheatear};
use crate::place::{LONG, Place, Running, request, wait_for};

fn note(instrument: &str, n: usize) -> PathBuf {
    live::notes(&root().join("target/assets/sounds/instruments"), instrument).unwrap()[n].clone()
}

fn started(place: &Place) -> (Running, String) {
    let running = place.start();
    let address = Running::address(&running.told("READY=1"));
    wait_for(&address, "/api/v1/status", "sound", |s| s["counts"]["windows"].as_u64() > Some(3));
    (running, address)
}

fn label(address: &str, class: &str) -> Value {
    let (status, answer) = request(address, "POST", "/api/v1/labels", &json!({"target": {"last_ms": 3500}, "labels": class}).to_string());
    assert_eq!(status, 200, "{answer}");
    answer
}

fn classes(status: &Value) -> Vec<&str> {
    status["adapter"]["classes"].as_array().into_iter().flatten().filter_map(|c| c["class"].as_str()).collect()
}

#[test]
fn what_is_heard_is_saved_for_the_owner_of_the_key_alone() {
    let key = age::x25519::Identity::generate();
    let config = format!("[clips]\nfolder = \"clips\"\nmargin_s = 0.5\nmax_s = 4\nrecipient = \"{}\"\n", key.to_public());
    let place = Place::new(&config);
    let (running, address) = started(&place);
    for instrument in ["Cello", "Clarinet"] {
        place.play(&note(instrument, 0));
        label(&address, instrument);
    }
    wait_for(&address, "/api/v1/status", "two classes", |s| classes(s).len() == 2 && s["counts"]["serving"].as_u64() > Some(0));
    place.play(&note("Cello", 0));
    let clip = |name: &str| {
        let entries = std::fs::read_dir(place.path("clips")).unwrap().map(|e| e.unwrap().path());
        let mut clips: Vec<PathBuf> = entries.filter(|p| p.to_string_lossy().ends_with(name)).collect();
        clips.sort();
        clips.pop()
    };
    let until = Instant::now() + LONG;
    let path = loop {
        if let Some(path) = clip("_Cello.clip.wav.age") {
            break path;
        }
        assert!(Instant::now() < until, "no clip of the cello: {}", place.log());
        std::thread::sleep(Duration::from_millis(100));
    };
    running.signal(Signal::TERM);
    assert_eq!(running.ends(), 0, "{}", place.log());

    let sealed = std::fs::read(path).unwrap();
    let mut wav = Vec::new();
    let decryptor = age::Decryptor::new(&sealed[..]).unwrap();
    decryptor.decrypt(std::iter::once(&key as &dyn age::Identity)).unwrap().read_to_end(&mut wav).unwrap();
    let mut reader = hound::WavReader::new(Cursor::new(&wav)).unwrap();
    let samples: Vec<f64> = reader.samples::<i16>().map(|s| f64::from(s.unwrap())).collect();
    let seconds = samples.len() as f64 / f64::from(reader.spec().sample_rate);
    assert!((1.0..=5.1).contains(&seconds), "{seconds} s");
    assert!(samples.iter().map(|x| x * x).sum::<f64>() / samples.len() as f64 > 100.0, "the clip is silent");
    let text = String::from_utf8_lossy(&wav).into_owned();
    assert!(text.contains("Species Auto ID: Cello\n") && text.contains("Timestamp: 20"), "no metadata");
}

#[test]
fn a_box_hears_in_turns_and_is_well_while_it_rests() {
    let place = Place::new("[listen]\non_s = 3\nevery_s = 5\nnice = true\n");
    let (running, address) = started(&place);
    let texts = |events: &Value| -> Vec<String> {
        events.as_array().into_iter().flatten().filter_map(|e| e["event"]["text"].as_str().map(str::to_owned)).collect()
    };
    let count = |events: &Value, begin: &str| texts(events).iter().filter(|t| t.starts_with(begin)).count();
    wait_for(&address, "/api/v1/events?kind=notice", "a rest", |e| count(e, "rests for") == 1);
    let rested = wait_for(&address, "/api/v1/status", "counts", |s| s["counts"].is_object());
    let frames = rested["counts"]["frames"].as_u64().unwrap();
    // Two more turns.
    let later = wait_for(&address, "/api/v1/status", "two more turns", |s| s["counts"]["frames"].as_u64() > Some(frames + 5 * 16_000));
    assert_eq!((&later["counts"]["stride"], &later["counts"]["frames_lost"]), (&json!(2), &json!(0)));
    let microphone = &later["microphones"][0];
    assert!(microphone["reopened"] == 0 && microphone["captured_frames"].as_u64() >= Some(frames), "turns are no losses: {microphone}");
    assert_eq!(request(&address, "GET", "/healthz", "").0, 200);
    let (_, events) = request(&address, "GET", "/api/v1/events?kind=notice", "");
    assert_eq!((count(&events, "rests for"), count(&events, "hears ")), (1, 1), "each turn is no news: {events}");
    assert!(!texts(&events).iter().any(|t| t.contains("missing") || t.contains("lost")), "a rest is no loss: {events}");
    running.signal(Signal::TERM);
    assert_eq!(running.ends(), 0, "{}", place.log());
}

#[test]
fn another_adapter_is_taken_without_losing_sound_and_a_wrong_one_is_not() {
    let place = Place::new("");
    let known = place.path("known");
    for instrument in ["Violin", "Viola"] {
        std::fs::create_dir_all(known.join(instrument)).unwrap();
        for n in 0..4 {
            std::fs::copy(note(instrument, n), known.join(instrument).join(format!("{n}.wav"))).unwrap();
        }
    }
    let backbone = root().join("target/assets/models/aisfx");
    let mut teach = wheatear();
    teach.arg("teach").arg(&known).arg("--backbone").arg(backbone).arg("--adapter").arg(place.path("pushed"));
    Ran::from(teach.output().unwrap()).ok();

    let (running, address) = started(&place);
    place.play(&note("Cello", 0));
    label(&address, "Cello");
    // The host's adapter comes to the place of the one before.
    std::fs::rename(place.path("adapter"), place.path("before")).unwrap();
    std::fs::rename(place.path("pushed"), place.path("adapter")).unwrap();
    running.signal(Signal::HUP);
    running.told("READY=1");
    assert!(place.log().contains("another adapter is taught from now on"), "{}", place.log());
    wait_for(&address, "/api/v1/status", "the host's classes", |s| classes(s) == ["Viola", "Violin"]);
    place.play(&note("Clarinet", 0));
    label(&address, "Clarinet");
    let status = wait_for(&address, "/api/v1/status", "one more", |s| classes(s).len() == 3);
    assert_eq!((&status["counts"]["frames_lost"], &status["counts"]["windows_dropped"]), (&json!(0), &json!(0)));
    // The one before is whole, and free.
    let before = Ran::from(wheatear().arg("undo").arg(place.path("before")).output().unwrap()).ok();
    assert!(before.out.contains("row"), "{}", before.out);

    std::fs::create_dir(place.path("wrong")).unwrap();
    std::fs::write(place.path("wrong/x"), b"x").unwrap();
    std::fs::write(
        place.path("wheatear.toml"),
        std::fs::read_to_string(place.path("wheatear.toml")).unwrap().replace("\"adapter\"", "\"wrong\""),
    )
    .unwrap();
    running.signal(Signal::HUP);
    running.told("READY=1");
    assert!(place.log().contains("the configuration before holds on"), "{}", place.log());
    wait_for(&address, "/api/v1/status", "the same as before", |s| classes(s).len() == 3);
    running.signal(Signal::TERM);
    assert_eq!(running.ends(), 0, "{}", place.log());
}
