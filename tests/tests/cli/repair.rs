//! Wrecked adapters, as a user meets them: the commands refuse them, and what is whole is made into a new one.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::command::{Ran, run};
use crate::material::{aisfx, classes, digest, notes, taught};

/// A copy of the taught adapter, to be wrecked.
struct Wreck {
    folder: TempDir,
}

impl Wreck {
    fn new() -> Wreck {
        let wreck = Wreck { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(wreck.adapter()).unwrap();
        for file in ["header", "chunks", "state", "lock", "backbone"] {
            std::fs::copy(taught().adapter().join(file), wreck.adapter().join(file)).unwrap();
        }
        wreck
    }

    fn adapter(&self) -> PathBuf {
        self.folder.path().join("wreck")
    }

    fn new_one(&self) -> PathBuf {
        self.folder.path().join("new")
    }

    fn write(&self, file: &str, offset: u64, bytes: &[u8]) {
        OpenOptions::new().write(true).open(self.adapter().join(file)).unwrap().write_all_at(bytes, offset).unwrap();
    }

    fn cut(&self, file: &str, len: u64) {
        OpenOptions::new().write(true).open(self.adapter().join(file)).unwrap().set_len(len).unwrap();
    }

    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let entries = std::fs::read_dir(self.adapter()).unwrap().map(|e| e.unwrap());
        let mut files: Vec<_> = entries.map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap())).collect();
        files.sort();
        files
    }
}

fn classify(adapter: &Path) -> Ran {
    run!("classify", notes("Violin")[7], "--backbone", aisfx(), "--adapter", adapter, "--json")
}

fn hears_a_violin(adapter: &Path) {
    assert_eq!(classify(adapter).ok().json()[0]["ranked"][0][0].as_str(), Some("Violin"));
}

#[test]
fn a_whole_adapter_is_repaired_without_being_asked_twice_and_loses_nothing() {
    let wreck = Wreck::new();
    let before = wreck.files();
    let said = run!("repair", wreck.adapter(), "--out", wreck.new_one()).ok().out;
    assert!(said.contains("exact, to generation 18") && said.contains("new incarnation"), "{said}");
    assert_eq!(wreck.files(), before, "it is only read");
    assert_eq!((digest(&wreck.new_one()), classes(&wreck.new_one())), (digest(&taught().adapter()), classes(&taught().adapter())));
    hears_a_violin(&wreck.new_one());
    // Its backbone is found again, and what it was taught is known.
    run!("classify", notes("Violin")[7], "--adapter", wreck.new_one()).ok();
    let again = run!("teach", taught().sounds(), "--backbone", aisfx(), "--adapter", wreck.new_one(), "--json").ok().json();
    assert_eq!((again["already_known"].as_u64(), again["sounds"].as_u64()), (Some(18), Some(0)));
    run!("repair", wreck.adapter(), "--out", wreck.new_one()).fails(3, &["new", "choose another folder"]);
    run!("repair", wreck.adapter(), "--out", wreck.adapter().join("deep/inside")).fails(3, &["only read", "another place"]);
    assert_eq!(wreck.files(), before);
}

#[test]
fn an_adapter_without_a_header_and_with_a_hole_is_repaired_after_a_question() {
    let wreck = Wreck::new();
    let header = std::fs::metadata(wreck.adapter().join("header")).unwrap().len();
    wreck.write("header", 0, &vec![0xee; header as usize]);
    wreck.write("chunks", 20_000, &[0xee; 600]);
    // No checkpoint says what was in the hole.
    wreck.write("state", 0, &vec![0; 8 * 65_536]);
    let before = wreck.files();
    classify(&wreck.adapter()).fails(9, &["wreck", "wheatear repair"]);
    let repair = |extra: &[&str]| {
        let mut command = crate::command::wheatear();
        command.arg("repair").arg(wreck.adapter()).arg("--out").arg(wreck.new_one()).args(extra);
        Ran::of(&mut command)
    };
    repair(&["--yes"]).fails(9, &["header", "--like ADAPTER"]);
    let like = taught().adapter();
    let like = ["--like", like.to_str().unwrap()];
    let asked = repair(&like).fails(3, &["expected --yes", "would be lost"]);
    assert!(asked.out.contains("records are damaged") && asked.out.contains("missing: "), "{}", asked.out);
    assert!(!wreck.new_one().exists(), "nothing was made");
    let done = repair(&[&like[..], &["--yes", "--json"]].concat()).ok().json();
    assert_eq!((done["complete"].as_bool(), done["header"].as_str()), (Some(false), Some("like")));
    let lost = done["missing"].as_array().unwrap().len();
    assert!(lost == 1 && done["exact_to"].as_u64().unwrap() < 18, "{done}");
    let counted = |of: &Value| of["counted_rows"].as_u64().unwrap();
    let all: u64 = classes(&taught().adapter()).iter().map(|c| c.1).sum();
    assert!(counted(&done) < all && counted(&done) * 3 > all * 2, "{done}");
    assert_eq!(classes(&wreck.new_one()).iter().map(|c| c.1).sum::<u64>(), counted(&done));
    hears_a_violin(&wreck.new_one());
    assert_eq!(wreck.files(), before);
    // What was lost is learned again.
    let again = run!("teach", taught().sounds(), "--backbone", aisfx(), "--adapter", wreck.new_one(), "--json").ok().json();
    assert!((1..=2).contains(&again["sounds"].as_u64().unwrap()), "{again}");
    assert_eq!(digest(&wreck.new_one()), digest(&taught().adapter()));
}

#[test]
fn an_adapter_that_was_cut_short_is_repaired_and_one_of_which_nothing_is_left_is_not() {
    let wreck = Wreck::new();
    wreck.cut("chunks", 30_000);
    std::fs::remove_file(wreck.adapter().join("state")).unwrap();
    assert_ne!(classify(&wreck.adapter()).code, Some(0));
    let asked = run!("repair", wreck.adapter(), "--out", wreck.new_one()).fails(3, &["--yes"]);
    assert!(asked.out.contains("state: not there") && asked.out.contains("cut off"), "{}", asked.out);
    run!("repair", wreck.adapter(), "--out", wreck.new_one(), "--yes").ok();
    let left = classes(&wreck.new_one());
    assert!(!left.is_empty() && left.iter().all(|c| classes(&taught().adapter()).iter().any(|t| t.0 == c.0 && t.1 >= c.1)), "{left:?}");
    let nothing = Wreck::new();
    nothing.cut("chunks", 0);
    nothing.cut("state", 0);
    run!("repair", nothing.adapter(), "--out", nothing.new_one(), "--yes").fails(9, &["nothing", "restore it from a copy"]);
    assert!(!nothing.new_one().exists());
    run!("repair", nothing.adapter().join("gone"), "--out", nothing.new_one()).fails(4, &["gone"]);
}
