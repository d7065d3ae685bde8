//! Another backbone for what an adapter has learned: tiny backbones that cut sound in different ways, and the two real ones.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use wheatear::learn::{ClassName, LabelSet};
use wheatear::store::{Access, Adapter, Batch, Durability, NewRow, RowFlags};
use wheatear::units::Moment;

use crate::command::{Ran, run, wheatear};
use crate::material::{aisfx, classes, digest, put, speech, taught, write_samples, write_tiny_backbone};

/// Sounds of two classes, an old and a new tiny backbone, and an adapter that the old one taught.
struct World {
    folder: TempDir,
}

impl World {
    /// `extra` options for the first teach.
    fn new(extra: &[&str]) -> World {
        let world = World { folder: tempfile::tempdir().unwrap() };
        write_tiny_backbone(&world.path("old"), "f32");
        write_tiny_backbone(&world.path("new"), "dynamic");
        // Windows that overlap: twice as many, beginning elsewhere.
        let manifest = std::fs::read_to_string(world.path("new/manifest.toml")).unwrap();
        std::fs::write(world.path("new/manifest.toml"), manifest.replace("hop_samples = 4", "hop_samples = 2")).unwrap();
        for (class, from) in [("high", 0.3), ("low", -0.4)] {
            for n in 0..4 {
                let sound = |i: usize| from + 0.05 * n as f32 + 0.01 * (i % 7) as f32;
                write_samples(&world.sound(class, n), 8000, &(0..12 + 4 * n).map(sound).collect::<Vec<f32>>());
            }
        }
        world.teach("sounds", "old", "adapter", extra).ok();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn sound(&self, class: &str, n: usize) -> PathBuf {
        self.path("sounds").join(class).join(format!("{n}.wav"))
    }

    fn teach(&self, sounds: &str, backbone: &str, adapter: &str, extra: &[&str]) -> Ran {
        let mut command = wheatear();
        command.arg("teach").arg(self.path(sounds)).arg("--backbone").arg(self.path(backbone));
        Ran::of(command.arg("--adapter").arg(self.path(adapter)).args(extra))
    }

    /// From `adapter` to `out`, with the clips in `clips`.
    fn rebase(&self, clips: &str, out: &str, extra: &[&str]) -> Ran {
        let mut command = wheatear();
        command.arg("rebase").arg(self.path("adapter")).arg("--backbone").arg(self.path("new")).arg("--clips").arg(self.path(clips));
        Ran::of(command.arg("--out").arg(self.path(out)).args(extra))
    }

    fn open(&self, name: &str) -> Adapter {
        Adapter::open(&self.path(name), Access::Write).unwrap()
    }
}

fn single(class: &str) -> LabelSet {
    LabelSet::single(ClassName::new(class).unwrap())
}

/// Ids and begins of the rows of the longest recording of `class`.
fn rows_of_longest(adapter: &Adapter, class: &str) -> Vec<(u64, u64)> {
    let mut longest = Vec::new();
    let visit = |learned: wheatear::store::Learned| {
        let rows: Vec<_> = learned.rows.iter().filter(|(_, l)| *l == single(class)).map(|(m, _)| (m.id, m.start_sample)).collect();
        longest = if rows.len() > longest.len() { rows } else { std::mem::take(&mut longest) };
        Ok(())
    };
    adapter.rows(visit).unwrap();
    longest
}

fn lost(ran: &Ran) -> Vec<(String, u64)> {
    let facts = ran.json();
    let name = |r: &Value| if r["kind"] == "class" { r["class"].as_str().unwrap() } else { r["kind"].as_str().unwrap() }.to_owned();
    let row = |r: &Value| (name(r), r["rows"].as_u64().unwrap());
    facts["lost"]["rows"].as_array().unwrap().iter().map(row).collect()
}

#[test]
fn with_all_clips_it_is_as_if_the_new_backbone_had_been_taught() {
    let world = World::new(&[]);
    // Clips lie anywhere: moved, renamed, among others.
    let kept = world.path("kept/somewhere/else");
    for (i, sound) in ["high", "low"].iter().flat_map(|c| (0..4).map(|n| world.sound(c, n))).enumerate() {
        std::fs::create_dir_all(&kept).unwrap();
        std::fs::copy(sound, kept.join(format!("clip {i}.wav"))).unwrap();
    }
    write_samples(&world.path("kept/other.wav"), 8000, &[0.9; 8]);
    world.teach("sounds", "new", "fresh", &[]).ok();
    for (clips, out) in [("sounds", "a"), ("kept", "b")] {
        let done = world.rebase(clips, out, &["--json"]).ok().json();
        assert_eq!((done["recordings"].as_u64(), done["lost"]["rows"].as_array().map(Vec::len)), (Some(8), Some(0)), "{done}");
        assert_eq!(digest(&world.path(out)), digest(&world.path("fresh")));
    }
    assert_ne!(digest(&world.path("a")), digest(&world.path("adapter")));
    // It knows what it was taught, and who taught it when.
    let again = world.teach("sounds", "new", "a", &["--json"]).ok().json();
    assert_eq!((again["already_known"].as_u64(), again["sounds"].as_u64()), (Some(8), Some(0)));
    let said = |name: &str| {
        let (mut said, adapter) = (BTreeSet::new(), world.open(name));
        adapter
            .rows(|l| {
                said.insert((l.batch.source, l.batch.by.clone(), l.batch.time.wall_ms, l.batch.time.monotonic_ns));
                Ok(())
            })
            .unwrap();
        (said, adapter.origin())
    };
    let ((before, old), (after, new)) = (said("adapter"), said("a"));
    assert_eq!(before, after);
    assert!(old.device == new.device && old.incarnation != new.incarnation);
    run!("classify", world.sound("low", 1), "--adapter", world.path("a")).ok();
}

#[test]
fn without_a_clip_it_lists_what_would_be_lost_and_asks() {
    let world = World::new(&[]);
    // The longest one of a class: 24 samples, six rows.
    std::fs::rename(world.sound("low", 3), world.path("gone")).unwrap();
    let asked = world.rebase("sounds", "new one", &["--json"]).fails(3, &["would be lost", "expected --yes", "--yes to go on"]);
    assert_eq!(lost(&asked), [("low".to_owned(), 6)]);
    assert_eq!(asked.json()["lost"]["recordings_without_clip"].as_u64(), Some(1));
    let said = world.rebase("sounds", "new one", &[]).fails(3, &["--yes"]).out;
    assert!(said.contains("computed again: low 6") && said.contains("1 recording without a clip"), "{said}");
    assert!(!world.path("new one").exists(), "nothing was made");
    world.rebase("sounds", "new one", &["--yes"]).ok();
    world.teach("sounds", "new", "fresh", &[]).ok();
    assert_eq!(digest(&world.path("new one")), digest(&world.path("fresh")));
    // A clip that is there and no sound any more is not recognised; none at all is no adapter.
    std::fs::write(world.sound("low", 2), b"changed").unwrap();
    let asked = world.rebase("sounds", "other", &["--json"]).fails(3, &["--yes"]);
    assert_eq!(lost(&asked), [("low".to_owned(), 11)]);
    write_samples(&world.path("none/a.wav"), 8000, &[0.5; 8]);
    world.rebase("none", "other", &["--yes"]).fails(3, &["none", "no recording", "not recognised"]);
    assert!(!world.path("other").exists());
}

#[test]
fn rows_keep_the_labels_that_they_were_given_later() {
    let world = World::new(&[]);
    let mut adapter = world.open("adapter");
    let rows = rows_of_longest(&adapter, "high");
    assert_eq!(rows.iter().map(|r| r.1).collect::<Vec<_>>(), [0, 4, 8, 12, 16, 20]);
    let ids = [rows[2].0, rows[3].0];
    adapter.relabel(&ids, &single("bell"), "Ada", Durability::Now).unwrap();
    adapter.relabel(&[rows[5].0], &LabelSet::background(), "Ada", Durability::Now).unwrap();
    // Of another recording: rows that only say what they are not are not lost either.
    let low = rows_of_longest(&adapter, "low");
    let not_a_bell = LabelSet::new(BTreeSet::new(), [ClassName::new("bell").unwrap()].into()).unwrap();
    adapter.relabel(&[low[1].0], &not_a_bell, "Ada", Durability::Now).unwrap();
    drop(adapter);
    assert_eq!(lost(&world.rebase("sounds", "a", &["--json"]).ok()), []);
    let (mut now, adapter) = (Vec::new(), world.open("a"));
    adapter
        .rows(|l| {
            let facts = l.rows.iter().map(|(m, labels)| (l.batch.source, m.start_sample, labels.clone(), l.batch.by.clone()));
            now.extend(facts);
            Ok(())
        })
        .unwrap();
    let source = now.iter().find(|r| r.2 == single("bell")).unwrap().0;
    let mut now: Vec<_> = now.into_iter().filter(|r| r.0 == source).map(|(_, start, labels, by)| (start, labels, by)).collect();
    now.sort_by_key(|r| r.0);
    let expected = |start: u64| match start {
        // What covers two rows alike is what the first of them is.
        8..=14 => (single("bell"), "Ada"),
        20 => (LabelSet::background(), "Ada"),
        _ => (single("high"), "teach"),
    };
    let starts: Vec<u64> = now.iter().map(|r| r.0).collect();
    assert_eq!(starts, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20]);
    assert!(now.iter().all(|(start, labels, by)| (labels.clone(), by.as_str()) == expected(*start)), "{now:?}");
    // For that the windows of the old backbone must be known.
    std::fs::rename(world.path("old"), world.path("moved")).unwrap();
    world.rebase("sounds", "b", &[]).fails(4, &["tiny", "--from"]);
    let wrong = world.path("new");
    world.rebase("sounds", "b", &["--from", wrong.to_str().unwrap()]).fails(5, &["another backbone"]);
    let moved = world.path("moved");
    world.rebase("sounds", "b", &["--from", moved.to_str().unwrap()]).ok();
    assert_eq!(digest(&world.path("b")), digest(&world.path("a")));
}

#[test]
fn recordings_whose_rows_left_replay_are_what_they_were_taught_as() {
    let world = World::new(&["--replay-rows", "16"]);
    assert!(world.open("adapter").evicted_rows() > 8, "36 rows were taught");
    world.teach("sounds", "new", "fresh", &[]).ok();
    let done = world.rebase("sounds", "a", &["--json"]).ok().json();
    assert_eq!(digest(&world.path("a")), digest(&world.path("fresh")), "{done}");
    let adapter = world.open("a");
    assert_eq!(adapter.header().creation.replay_rows, 16, "the bounds are the old one's");
    // A clip is missing of which no row is held: as many rows as the statistics still count of it.
    std::fs::remove_file(world.sound("high", 0)).unwrap();
    assert_eq!(lost(&world.rebase("sounds", "b", &["--json"]).fails(3, &["--yes"])), [("high".to_owned(), 3)]);
}

#[test]
fn live_rows_and_forgotten_classes_are_listed() {
    let world = World::new(&["--replay-rows", "16"]);
    let mut adapter = world.open("adapter");
    let live = Batch { origin: adapter.origin(), by: "Ada".into(), time: Moment::UNKNOWN, graph: 0, source: 0, source_complete: false };
    let labels = [single("low"), LabelSet::background()];
    let row = |labels| NewRow { latent: &[3, -4, 5], labels, time_delta_ns: 0, start_sample: 0, flags: RowFlags::default() };
    adapter.learn(&live, &[row(&labels[0]), row(&labels[1])], Durability::Now).unwrap();
    let retired = adapter.forget(&ClassName::new("high").unwrap(), Durability::Now).unwrap().0;
    drop(adapter);
    let asked = world.rebase("sounds", "a", &["--json"]).fails(3, &["--yes"]);
    let all = lost(&asked);
    for expected in [("background", 1), ("low", 1), ("retired", retired)] {
        assert!(all.contains(&(expected.0.to_owned(), expected.1)), "{expected:?} in {all:?}");
    }
    assert_eq!((all.len(), asked.json()["lost"]["live_rows"].as_u64()), (3, Some(2)));
    world.rebase("sounds", "a", &["--yes"]).ok();
    assert_eq!(classes(&world.path("a")).iter().map(|c| c.0.as_str()).collect::<Vec<_>>(), ["low"], "what was forgotten stays so");
}

#[test]
fn places_and_backbones_that_do_not_serve_are_refused() {
    let world = World::new(&[]);
    let mut same = wheatear();
    same.arg("rebase").arg(world.path("adapter")).arg("--backbone").arg(world.path("old")).arg("--clips").arg(world.path("sounds"));
    Ran::of(same.arg("--out").arg(world.path("a"))).fails(3, &["this backbone's space already"]);
    world.rebase("sounds", "sounds", &["--yes"]).fails(3, &["sounds", "choose another folder"]);
    world.rebase("nowhere", "a", &[]).fails(4, &["nowhere"]);
    std::fs::write(world.path("new/tiny.onnx"), b"not a graph").unwrap();
    assert_ne!(world.rebase("sounds", "a", &[]).code, Some(0));
    assert!(!world.path("a").exists());
}

#[test]
fn instruments_move_from_one_real_backbone_to_another_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let rebase = |from: &Path, backbone: PathBuf, out: &Path| {
        run!("rebase", from, "--backbone", backbone, "--clips", taught().sounds(), "--out", out, "--json").ok().json()
    };
    let (there, back, fresh) = (path("there"), path("back"), path("fresh"));
    let done = rebase(&taught().adapter(), speech(), &there);
    assert_eq!(done["recordings"].as_u64(), Some(18), "{done}");
    run!("teach", taught().sounds(), "--backbone", speech(), "--adapter", fresh).ok();
    assert_eq!(digest(&there), digest(&fresh));
    rebase(&there, aisfx(), &back);
    assert_eq!(digest(&back), digest(&taught().adapter()));
    // And on with what was never taught.
    let more = path("more");
    put(&more.join("Vibraphone"), &crate::material::notes("Vibraphone")[..3]);
    run!("teach", &more, "--backbone", speech(), "--adapter", there).ok();
    assert_eq!(classes(&there).len(), 4);
}
