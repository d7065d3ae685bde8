//! The disk becomes full while a daemon runs on it: labels are kept, what cannot be written is said once, and with room again all goes on.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};
use wheatear::clock::since_boot_ns;

use super::{Client, note};
use crate::command::private_shell;
use crate::place::{LONG, Place, Running, wheateard};

/// A file system of its own, which is gone with this.
struct SmallDisk {
    folder: tempfile::TempDir,
    /// Keeps it mounted until its standard input ends.
    holder: Child,
}

impl SmallDisk {
    /// None where this user may mount nothing.
    fn new(size: &str) -> Option<SmallDisk> {
        let folder = tempfile::tempdir().unwrap();
        let script = "mount -t tmpfs -o size=\"$2\" tmpfs \"$1\"; echo mounted; exec cat";
        let mut shell = private_shell(script, &[folder.path().as_os_str(), size.as_ref()])?;
        let mut holder = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "mounted\n");
        Some(SmallDisk { folder, holder })
    }

    /// Runs `program` where the disk is seen.
    fn command(&self, program: &Command) -> Command {
        let space = |kind: &str| std::fs::read_link(format!("/proc/{}/ns/{kind}", self.holder.id())).unwrap();
        let mut enter = Command::new("nsenter");
        enter.arg("--target").arg(self.holder.id().to_string()).arg("--mount");
        if space("user") != std::fs::read_link("/proc/self/ns/user").unwrap() {
            enter.args(["--user", "--preserve-credentials"]);
        }
        enter.arg("--").arg(program.get_program());
        enter
    }

    /// A file on it as `command` sees it.
    fn inside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same file, from here.
    fn outside(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.inside(name).strip_prefix("/").unwrap())
    }

    fn fill(&self) {
        let mut filler = File::create(self.outside("filler")).unwrap();
        let zeros = [0; 4096];
        let full = loop {
            if let Err(e) = filler.write_all(&zeros) {
                break e;
            }
        };
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
    }

    fn free(&self) {
        std::fs::remove_file(self.outside("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        // One that has ended needs no ending.
        _ = self.holder.wait();
    }
}

fn start(place: &Place, disk: &SmallDisk) -> (Running, Client) {
    let mut daemon = disk.command(&wheateard());
    for (key, name) in [("adapter.folder", "adapter"), ("events.jsonl", "events.jsonl"), ("events.sqlite", "events.db")] {
        daemon.arg("--set").arg(format!("{key}={}", disk.inside(name).display()));
    }
    let running = place.launch(daemon, "127.0.0.1:0");
    let client = Client::new(&Running::address(&running.told("READY=1")));
    client.hears(3);
    (running, client)
}

/// Who taught or took back, as the file of events has it; each of its lines is whole.
fn by(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let events = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}")));
    events.filter_map(|e| e["by"].as_str().map(str::to_owned)).collect()
}

fn wait_until(what: &str, is: impl Fn() -> bool) {
    let until = Instant::now() + LONG;
    while !is() {
        assert!(Instant::now() < until, "{what}: not in time");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn when_the_disk_becomes_full_labels_are_kept_and_what_cannot_be_written_is_said_once() {
    let Some(disk) = SmallDisk::new("96m") else { return };
    let place = Place::new("");
    let (running, client) = start(&place, &disk);
    let heard = |instrument: &str| {
        let begin_ns = since_boot_ns();
        place.play(&note(instrument, 0));
        json!({"span_ns": [begin_ns, since_boot_ns()]})
    };
    let (cello, clarinet) = (heard("Cello"), heard("Clarinet"));
    let kept = client.label(&cello, "Cello", "before");
    let file = disk.outside("events.jsonl");
    wait_until("the first label is written", || by(&file).contains(&"before".to_owned()));
    let in_database = |who: &str| client.get("/api/v1/events?kind=learned&limit=500").to_string().contains(&format!("{who:?}"));
    wait_until("the first label is in the database", || in_database("before"));

    disk.fill();
    let lost = |name: &str| place.log().lines().filter(|l| l.contains("events are lost to") && l.contains(name)).count();
    // What was reserved, to the end of a page, is used up first.
    let mut tries = 0;
    while lost("events.jsonl") == 0 || lost("events.db") == 0 {
        client.label(&clarinet, "Clarinet", "full");
        client.undo("full");
        tries += 1;
        assert!(tries < 200, "nothing is said of a full disk: {}", place.log());
    }
    let other = client.label(&clarinet, "Clarinet", "still full");
    client.undo("still full, too");
    client.label(&clarinet, "Clarinet", "still full");
    for line in place.log().lines().filter(|l| l.contains("events are lost to")) {
        assert!(line.contains("space") && line.contains("until it works again"), "{line}");
    }
    client.hears(3);
    assert_eq!((lost("events.jsonl"), lost("events.db")), (1, 1), "{}", place.log());
    assert!(!in_database("still full") && !by(&file).contains(&"still full".to_owned()));
    let counts = &client.get("/api/v1/status")["counts"];
    assert_eq!((&counts["windows_dropped"], &counts["frames_lost"]), (&json!(0), &json!(0)));

    disk.free();
    client.undo("freed");
    let other = client.label(&clarinet, "Clarinet", "freed").get("rows").cloned().filter(|rows| *rows == other["rows"]).unwrap();
    wait_until("the file is written again", || by(&file).contains(&"freed".to_owned()));
    wait_until("the database is written again", || in_database("freed"));
    let events = client.get("/api/v1/events?limit=500");
    let numbers: Vec<u64> = events.as_array().unwrap().iter().map(|e| e["number"].as_u64().unwrap()).collect();
    assert!(numbers.windows(2).all(|n| n[0] == n[1] + 1), "{numbers:?}");
    let rows = || vec![("Cello".to_owned(), kept["rows"].as_u64().unwrap()), ("Clarinet".to_owned(), other.as_u64().unwrap())];
    wait_until("the status tells of both", || client.rows() == rows());

    // It may be stopped while the disk is full.
    disk.fill();
    running.signal(Signal::TERM);
    assert_eq!(running.ends(), 0, "{}", place.log());
    disk.free();
    let (running, client) = start(&place, &disk);
    assert_eq!(client.rows(), rows());
    assert!(by(&file).contains(&"before".to_owned()) && by(&file).contains(&"freed".to_owned()));
    running.signal(Signal::TERM);
    assert_eq!(running.ends(), 0, "{}", place.log());
}
