//! A teach that is watched, doubled and killed while it runs.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::command::{Ran, run, wheatear};
use crate::material::{aisfx, digest, inspect, notes, put_instruments};

const INSTRUMENTS: [&str; 4] = ["Church Organ", "Violin", "Rock Organ", "Cello"];
const EACH: usize = 12;
const SOUNDS: u64 = (INSTRUMENTS.len() * EACH) as u64;

/// A teach that is stopped after its first sounds.
struct Stopped {
    folder: TempDir,
    child: Child,
}

impl Stopped {
    fn begin(durability: &str) -> Stopped {
        // A machine that is busy elsewhere may let the teach end before it is caught.
        (0..5).find_map(|_| Stopped::caught(durability)).expect("the teach could not be stopped in its middle")
    }

    fn caught(durability: &str) -> Option<Stopped> {
        let folder = tempfile::tempdir().unwrap();
        put_instruments(&folder.path().join("sounds"), &INSTRUMENTS, 0, EACH);
        let mut teach = wheatear();
        teach.arg("teach").arg(folder.path().join("sounds")).arg("--backbone").arg(aisfx());
        teach.arg("--adapter").arg(folder.path().join("adapter")).args(["--threads", "1", "--durability", durability]);
        let child = teach.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut stopped = Stopped { folder, child };
        while stopped.generation() < 3 {
            if let Some(ended) = stopped.child.try_wait().unwrap() {
                assert!(ended.success(), "{ended}");
                return None;
            }
        }
        stopped.signal("-STOP");
        (stopped.generation() < SOUNDS).then_some(stopped)
    }

    fn adapter(&self) -> PathBuf {
        self.folder.path().join("adapter")
    }

    fn sounds(&self) -> PathBuf {
        self.folder.path().join("sounds")
    }

    /// 0 while there is no adapter yet.
    fn generation(&self) -> u64 {
        match run!("inspect", self.adapter(), "--json") {
            ran if ran.code == Some(0) => ran.json()["generation"].as_u64().unwrap(),
            ran => {
                ran.fails(4, &["adapter"]);
                0
            }
        }
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").arg(signal).arg(self.child.id().to_string()).status().unwrap().success());
    }

    fn teach(&self) -> Ran {
        teach(&self.sounds(), &self.adapter())
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn teach(sounds: &Path, adapter: &Path) -> Ran {
    run!("teach", sounds, "--backbone", aisfx(), "--adapter", adapter, "--json")
}

#[test]
fn while_one_teaches_another_is_told_to_wait_and_readers_are_served() {
    let mut stopped = Stopped::begin("chunk");
    stopped.teach().fails(8, &["adapter"]);
    let heard = run!("classify", notes("Church Organ")[0], "--backbone", aisfx(), "--adapter", stopped.adapter(), "--json").ok().json();
    assert_eq!(heard[0]["ranked"][0][0].as_str(), Some("Cello"), "classes are taught in order: it knows only this one yet");
    run!("verify", stopped.adapter()).ok();
    run!("undo", stopped.adapter()).fails(8, &["adapter"]);
    stopped.signal("-CONT");
    assert!(stopped.child.wait().unwrap().success());
    assert_eq!(inspect(&stopped.adapter())["generation"].as_u64(), Some(SOUNDS));
    let again = stopped.teach().ok().json();
    assert_eq!(again["already_known"].as_u64(), Some(SOUNDS));
}

#[test]
fn a_killed_teach_goes_on_where_it_was_and_ends_with_the_same_statistics() {
    let whole = tempfile::tempdir().unwrap();
    let uninterrupted = whole.path().join("adapter");
    let mut stopped = Stopped::begin("label");
    let acknowledged = stopped.generation();
    stopped.child.kill().unwrap();
    stopped.child.wait().unwrap();
    let after = inspect(&stopped.adapter());
    assert!(after["generation"].as_u64().unwrap() >= acknowledged, "{after}");
    let rest = stopped.teach().ok().json();
    assert_eq!(rest["sounds"].as_u64().unwrap() + rest["already_known"].as_u64().unwrap(), SOUNDS);
    assert!(rest["already_known"].as_u64().unwrap() >= 3 && rest["sounds"].as_u64().unwrap() > 0, "{rest}");
    teach(&stopped.sounds(), &uninterrupted).ok();
    assert_eq!(digest(&stopped.adapter()), digest(&uninterrupted));
}

#[test]
fn of_two_that_begin_one_adapter_at_once_none_breaks_it() {
    let folder = tempfile::tempdir().unwrap();
    let (sounds, adapter) = (folder.path().join("sounds"), folder.path().join("adapter"));
    put_instruments(&sounds, &INSTRUMENTS, 0, 2);
    let begin = || {
        let mut teach = wheatear();
        teach.arg("teach").arg(&sounds).arg("--backbone").arg(aisfx()).arg("--adapter").arg(&adapter);
        teach.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let both = [begin(), begin()].map(|child| Ran::from(child.wait_with_output().unwrap()));
    let done = both.iter().filter(|ran| ran.code == Some(0)).count();
    assert!(done >= 1, "{both:#?}");
    for ran in both.into_iter().filter(|ran| ran.code != Some(0)) {
        ran.fails(8, &["adapter"]);
    }
    assert_eq!(inspect(&adapter)["generation"].as_u64(), Some(8));
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "nothing else is left behind: {left:?}");
}
