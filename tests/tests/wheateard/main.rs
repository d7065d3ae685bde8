//! The device daemon as a service manager and a phone see it: it says when it is ready, hears a real microphone, takes labels over HTTP,
//! reads its configuration again, commits when it is told to stop, and is well after a kill.

#[allow(dead_code, unused_imports, unused_macros)] // The other half is for the tests of the command line.
#[path = "../cli/command.rs"]
mod command;

#[allow(dead_code)] // The other half is for the test of the page.
mod place;

use command::{Ran, root, wheatear};
use place::{Place, Running, request, wait_for, wheateard};
use rustix::process::Signal;
use serde_json::{Value, json};
use wheatear_tests::live;

#[test]
fn it_says_when_it_is_ready_learns_over_http_reads_its_configuration_again_and_commits_when_it_is_stopped() {
    let place = Place::new("");
    let running = place.start();
    let ready = running.told("READY=1");
    let address = Running::address(&ready);
    wait_for(&address, "/api/v1/status", "sound", |s| s["counts"]["windows"].as_u64() > Some(3));
    running.told("WATCHDOG=1");

    let sounds = root().join("target/assets/sounds/instruments");
    for instrument in ["Cello", "Clarinet"] {
        place.play(&live::notes(&sounds, instrument).unwrap()[0]);
        let label = json!({"target": {"last_ms": 3500}, "labels": instrument, "by": "phone"}).to_string();
        let (status, answer) = request(&address, "POST", "/api/v1/labels", &label);
        assert!(status == 200 && answer["durable"] == true, "{status} {answer}");
    }
    let serves = |s: &Value| s["adapter"]["classes"].as_array().is_some_and(|c| c.len() == 2) && s["counts"]["serving"].as_u64() > Some(0);
    wait_for(&address, "/api/v1/status", "a head of two classes", serves);

    place.configure("[listen]\nask_per_hour = 60\n[classify]\nmin_probability = 0.9\n");
    running.signal(Signal::HUP);
    running.told("RELOADING=1");
    assert_eq!(Running::address(&running.told("READY=1")), address);
    assert!(place.log().contains("the configuration was read again"), "{}", place.log());
    place.configure("[listen]\nrecent_s = 60\n[serve]\nhosts = [\"box\"]\n");
    running.signal(Signal::HUP);
    running.told("READY=1");
    assert!(place.log().contains("changes in listen, serve wait for a restart"), "{}", place.log());
    place.configure("[listen]\nask_per_hour = -1\n");
    running.signal(Signal::HUP);
    running.told("READY=1");
    assert!(place.log().contains("listen.ask_per_hour") && place.log().contains("the configuration before holds on"), "{}", place.log());
    let lost = wait_for(&address, "/api/v1/status", "counts", |s| s["counts"].is_object());
    let zero = |key: &str| assert_eq!(lost["counts"][key], 0, "{key}: {lost}");
    ["windows_dropped", "frames_lost"].iter().for_each(|key| zero(key));

    // Readers may look while it runs; another writer may not.
    Ran::from(wheatear().arg("inspect").arg(place.path("adapter")).output().unwrap()).ok();
    Ran::from(wheatear().arg("undo").arg(place.path("adapter")).output().unwrap()).fails(8, &["adapter"]);
    running.signal(Signal::TERM);
    running.told("STOPPING=1");
    assert_eq!(running.ends(), 0, "{}", place.log());
    let head = Ran::from(wheatear().args(["inspect", "--head", "--json"]).arg(place.path("adapter")).output().unwrap()).ok();
    assert!(head.out.contains("\"serves\""), "{}", head.out);
}

#[test]
fn after_a_kill_it_is_ready_again_and_knows_what_was_acknowledged() {
    let place = Place::new("");
    let mut running = place.start();
    let address = Running::address(&running.told("READY=1"));
    wait_for(&address, "/api/v1/status", "sound", |s| s["counts"]["windows"].as_u64() > Some(3));
    let sounds = root().join("target/assets/sounds/instruments");
    place.play(&live::notes(&sounds, "Tenor Sax").unwrap()[0]);
    let label = json!({"target": {"last_ms": 3500}, "labels": "wren"}).to_string();
    let (_, learned) = request(&address, "POST", "/api/v1/labels", &label);
    running.child.kill().unwrap();
    running.child.wait().unwrap();

    let running = place.start();
    let address = Running::address(&running.told("READY=1"));
    let status = wait_for(&address, "/api/v1/status", "classes", |s| s["adapter"]["classes"].as_array().is_some_and(|c| !c.is_empty()));
    assert_eq!(status["adapter"]["classes"], json!([{"class": "wren", "rows": learned["rows"]}]));
    running.signal(Signal::INT);
    assert_eq!(running.ends(), 0);
}

#[test]
fn a_microphone_that_is_not_there_is_waited_for_and_said() {
    let place = Place::new("[listen]\nmicrophones = [\"no such microphone\"]\n");
    let running = place.start();
    let address = Running::address(&running.told("READY=1"));
    let is_lost = |e: &Value| {
        e.as_array().is_some_and(|all| all.iter().any(|e| e["event"]["text"].as_str().is_some_and(|t| t.starts_with("lost: "))))
    };
    let events = wait_for(&address, "/api/v1/events?kind=notice", "that it is not there", is_lost);
    assert!(events.to_string().contains("no such microphone"), "{events}");
    running.signal(Signal::TERM);
    assert_eq!(running.ends(), 0, "{}", place.log());
}

#[test]
fn a_wrong_configuration_is_refused_with_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.toml");
    for (text, code, parts) in [
        ("[serve]\naddress = \"0.0.0.0:7380\"\n[adapter]\nfolder = \"a\"\n", 6, &["backbone"][..]),
        ("[listen]\nask_per_hour = 9999\n", 6, &["w.toml", "listen.ask_per_hour", "0 to 3600", "9999"]),
        ("[listen]\nmicrophone = \"x\"\n", 6, &["w.toml", "microphone"]),
        ("", 6, &["no adapter is named", "adapter.folder"]),
    ] {
        std::fs::write(&path, text).unwrap();
        Ran::from(wheateard().arg("--config").arg(&path).output().unwrap()).fails(code, parts);
    }
    std::fs::write(&path, "[listen]\nask_per_hour = 6\n").unwrap();
    Ran::from(wheateard().arg("--check").arg("--config").arg(&path).output().unwrap()).ok();
    Ran::from(wheateard().arg("--check").arg("--config").arg(&path).env("WHEATEAR_LISTEN_ASK_PER_HOUR", "x").output().unwrap())
        .fails(6, &["WHEATEAR_LISTEN_ASK_PER_HOUR"]);
}
