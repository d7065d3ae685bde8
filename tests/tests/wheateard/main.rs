//! The device daemon as a service manager and a phone see it: it says when it is ready, hears a real microphone, takes labels over HTTP,
//! reads its configuration again, commits when it is told to stop, and is well after a kill.

#[allow(dead_code, unused_imports, unused_macros)] // The other half is for the tests of the command line.
#[path = "../cli/command.rs"]
mod command;

mod faults;
mod modes;
#[allow(dead_code)] // The other half is for the test of the page.
mod place;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use command::{Ran, root, wheatear};
use place::{Place, Running, request, wait_for, wheateard};
use rustix::process::Signal;
use serde_json::{Value, json};
use wheatear_tests::live;

#[test]
fn it_says_when_it_is_ready_learns_over_http_reads_its_configuration_again_and_commits_when_it_is_stopped() {
    let clips = "[clips]\nfolder = \"clips\"\n";
    let place = Place::new(clips);
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

    place.configure(&format!("{clips}[listen]\nask_per_hour = 60\n[classify]\nmin_probability = 0.9\n"));
    running.signal(Signal::HUP);
    running.told("RELOADING=1");
    assert_eq!(Running::address(&running.told("READY=1")), address);
    assert!(place.log().contains("the configuration was read again"), "{}", place.log());
    // What waits is said each time, not only by the first.
    for _ in 0..2 {
        let before = place.log().len();
        place.configure(&format!("{clips}[listen]\nrecent_s = 60\nmin_ms = 250\n[serve]\nhosts = [\"box\"]\n"));
        running.signal(Signal::HUP);
        running.told("READY=1");
        let log = place.log();
        assert!(log[before..].contains("changes in listen, serve, clips wait for a restart"), "{log}");
    }
    place.configure("[listen]\nask_per_hour = -1\n");
    running.signal(Signal::HUP);
    running.told("READY=1");
    assert!(place.log().contains("listen.ask_per_hour") && place.log().contains("the configuration before holds on"), "{}", place.log());
    let lost = wait_for(&address, "/api/v1/status", "counts", |s| s["counts"].is_object());
    let zero = |key: &str| assert_eq!(lost["counts"][key], 0, "{key}: {lost}");
    ["windows_dropped", "frames_lost"].iter().for_each(|key| zero(key));

    // What runs the backbone keeps to itself.
    assert!(!place.path("home/.cache/Microsoft").exists());

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
        ("[serve]\naddress = \"0.0.0.0:7380\"\n[adapter]\nfolder = \"a\"\n", 6, &["a token and TLS"][..]),
        ("[adapter]\nfolder = \"a\"\n", 6, &["no backbone is named", "backbone.folder"]),
        ("[listen]\nask_per_hour = 9999\n", 6, &["w.toml", "listen.ask_per_hour", "0 to 3600", "9999"]),
        ("[listen]\nmicrophone = \"x\"\n", 6, &["w.toml", "microphone"]),
        ("", 6, &["no adapter is named", "adapter.folder"]),
    ] {
        std::fs::write(&path, text).unwrap();
        Ran::from(wheateard().arg("--config").arg(&path).output().unwrap()).fails(code, parts);
    }
    let of = |backbone: PathBuf| format!("[listen]\nask_per_hour = 6\n[adapter]\nfolder = \"a\"\n[backbone]\nfolder = {backbone:?}\n");
    let whole = of(root().join("target/assets/models/aisfx"));
    for (text, code, part) in [
        (format!("{whole}[serve]\naddress = \"0.0.0.0:7380\"\n"), 6, "a token and TLS"),
        (format!("{whole}[mqtt]\nurl = \"mqtt://h:1\"\npassword_file = \"p\"\n"), 6, "username"),
        (format!("{whole}[events]\ncsv = \"e\"\njsonl = \"e\"\n"), 6, "events.jsonl and events.csv"),
        (format!("{whole}[events]\nsqlite = \"none/e.db\"\n"), 4, "events.sqlite"),
        (of("none".into()), 4, "none"),
        (whole.replace("6", "6\nend_probability = 0.9"), 6, "listen.end_probability"),
    ] {
        std::fs::write(&path, text).unwrap();
        Ran::from(wheateard().arg("--check").arg("--config").arg(&path).output().unwrap()).fails(code, &[part]);
    }
    std::fs::write(&path, whole).unwrap();
    Ran::from(wheateard().arg("--check").arg("--config").arg(&path).output().unwrap()).ok();
    Ran::from(wheateard().arg("--check").arg("--config").arg(&path).env("WHEATEAR_LISTEN_ASK_PER_HOUR", "x").output().unwrap())
        .fails(6, &["WHEATEAR_LISTEN_ASK_PER_HOUR"]);
}

#[test]
fn beyond_loopback_it_is_served_by_tls_and_token_or_not_at_all() {
    let place = Place::new("[serve]\ntoken_file = \"token\"\ncertificate = \"chain.pem\"\nkey = \"key.pem\"\n");
    std::fs::write(place.path("token"), "a-token-of-some-length\n").unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]);
    openssl
        .args(["-addext", "subjectAltName=DNS:localhost", "-keyout"])
        .arg(place.path("key.pem"))
        .arg("-out")
        .arg(place.path("chain.pem"));
    assert!(openssl.output().expect("openssl cannot be started: install openssl").status.success());
    // Every address of this machine.
    let running = place.start_at("0.0.0.0:0");
    let port = Running::address(&running.told("READY=1")).rsplit(':').next().unwrap().to_owned();
    let ask = |more: &str| {
        let mut client = Command::new("openssl");
        client
            .args(["s_client", "-quiet", "-verify_return_error", "-verify_hostname", "localhost", "-CAfile"])
            .arg(place.path("chain.pem"));
        client.args(["-connect", &format!("127.0.0.1:{port}")]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut client = client.spawn().unwrap();
        let request = format!("GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n");
        client.stdin.as_mut().unwrap().write_all(request.as_bytes()).unwrap();
        String::from_utf8_lossy(&client.wait_with_output().unwrap().stdout).into_owned()
    };
    assert!(ask("").starts_with("HTTP/1.1 401"), "{}", ask(""));
    let told = ask("Authorization: Bearer a-token-of-some-length\r\n");
    assert!(told.starts_with("HTTP/1.1 200") && told.contains("\"aisfx\""), "{told}");
    // Without TLS nothing is told.
    let mut plain = std::net::TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // It may be cut off.
    _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
    drop(running);
    place.configure("");
    let mut daemon = wheateard();
    daemon.arg("--config").arg(place.path("wheatear.toml")).args(["--set", "serve.address=0.0.0.0:0"]).envs(place.server.environment());
    Ran::from(daemon.output().unwrap()).fails(6, &["a token and TLS", "serve.token_file", "loopback"]);
}
