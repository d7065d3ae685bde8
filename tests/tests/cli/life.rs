//! The life of an adapter on real sound: taught, asked, taught again, taught in another order, taught more.

use std::path::Path;

use crate::command::{Ran, run};
use crate::material::{INSTRUMENTS, aisfx, classes, digest, inspect, notes, put, put_instruments, taught};

fn teach(folder: &Path, adapter: &Path, threads: &str) -> Ran {
    run!("teach", folder, "--backbone", aisfx(), "--adapter", adapter, "--threads", threads, "--json")
}

#[test]
fn notes_that_were_never_taught_are_recognised() {
    let folder = tempfile::tempdir().unwrap();
    put_instruments(folder.path(), &INSTRUMENTS, 6, 12);
    let heard = run!("classify", folder.path(), "--backbone", aisfx(), "--adapter", taught().adapter(), "--json").ok().json();
    let heard = heard.as_array().unwrap();
    assert_eq!(heard.len(), 18);
    let right = |h: &&serde_json::Value| {
        let class = Path::new(h["file"].as_str().unwrap()).parent().unwrap().file_name().unwrap();
        h["ranked"][0][0].as_str() == class.to_str()
    };
    let n = heard.iter().filter(right).count();
    assert!(n >= 16, "{n} of 18 are right");
}

#[test]
fn inspect_tells_what_was_learned_for_people_and_for_programs() {
    let adapter = taught().adapter();
    let facts = inspect(&adapter);
    assert_eq!((facts["backbone"].as_str(), facts["dim"].as_u64(), facts["latent_bits"].as_u64()), (Some("aisfx"), Some(512), Some(8)));
    assert_eq!(classes(&adapter).iter().map(|c| c.0.as_str()).collect::<Vec<_>>(), INSTRUMENTS);
    let rows: u64 = classes(&adapter).iter().map(|c| c.1).sum();
    assert_eq!((facts["rows"].as_u64(), facts["replay_rows"].as_u64()), (Some(rows), Some(rows)));
    assert_eq!((facts["recovery"].as_str(), facts["damaged_chunks"].as_u64()), (Some("clean"), Some(0)));
    let on_disk: u64 = std::fs::read_dir(&adapter).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
    assert_eq!(facts["bytes"].as_u64(), Some(on_disk));
    let text = run!("inspect", &adapter).ok().out;
    for word in ["Violin", "3 classes", "generation", facts["statistics_sha256"].as_str().unwrap()] {
        assert!(text.contains(word), "no {word} in {text}");
    }
}

#[test]
fn what_is_known_is_not_learned_twice_and_only_an_added_file_is() {
    let folder = tempfile::tempdir().unwrap();
    let (sounds, adapter) = (folder.path().join("sounds"), folder.path().join("adapter"));
    put_instruments(&sounds, &INSTRUMENTS, 0, 3);
    let first = teach(&sounds, &adapter, "2").ok().json();
    assert_eq!((first["sounds"].as_u64(), first["already_known"].as_u64()), (Some(9), Some(0)));
    assert_eq!((first["durability"].as_str(), first["durable"].as_bool()), (Some("chunk"), Some(true)));
    let (before, rows) = (digest(&adapter), inspect(&adapter)["rows"].as_u64().unwrap());

    let again = teach(&sounds, &adapter, "2").ok().json();
    assert_eq!((again["sounds"].as_u64(), again["already_known"].as_u64(), again["rows"].as_u64()), (Some(0), Some(9), Some(0)));
    assert_eq!(again["generation"], first["generation"]);
    assert_eq!(digest(&adapter), before);

    // A copy under another name is the same recording; another note is new.
    std::fs::copy(&notes("Violin")[0], sounds.join("Violin/copy.wav")).unwrap();
    put(&sounds.join("Violin"), &notes("Violin")[3..4]);
    let more = run!("teach", sounds, "--backbone", aisfx(), "--adapter", adapter, "--durability", "label", "--json").ok().json();
    assert_eq!((more["durability"].as_str(), more["durable"].as_bool()), (Some("label"), Some(true)));
    assert_eq!((more["sounds"].as_u64(), more["already_known"].as_u64()), (Some(1), Some(10)));
    assert_eq!(more["rows_by_class"].as_object().unwrap().keys().collect::<Vec<_>>(), ["Violin"]);
    assert_eq!(inspect(&adapter)["rows"].as_u64().unwrap(), rows + more["rows"].as_u64().unwrap());
    assert_ne!(digest(&adapter), before);
}

#[test]
fn order_parts_and_threads_do_not_change_the_statistics() {
    let folder = tempfile::tempdir().unwrap();
    // As a list, in reverse: names that sort the other way round.
    let list = folder.path().join("list");
    let mut lines = "file,class\n".to_owned();
    for (i, instrument) in INSTRUMENTS.iter().enumerate() {
        for (k, note) in notes(instrument)[..6].iter().enumerate() {
            let name = format!("{}{}.wav", 9 - i, 9 - k);
            std::fs::create_dir_all(&list).unwrap();
            std::fs::copy(note, list.join(&name)).unwrap();
            lines += &format!("{name},{instrument}\n");
        }
    }
    std::fs::write(list.join("labels.csv"), lines).unwrap();
    let reversed = folder.path().join("reversed");
    teach(&list, &reversed, "1").ok();
    assert_eq!(digest(&reversed), digest(&taught().adapter()));

    // The last class first, in a teach of its own.
    let parts = folder.path().join("parts");
    for (n, instrument) in INSTRUMENTS.iter().enumerate().rev() {
        let part = folder.path().join(format!("part{n}"));
        put_instruments(&part, &[instrument], 0, 6);
        teach(&part, &parts, "3").ok();
    }
    assert_eq!(digest(&parts), digest(&taught().adapter()));
}

#[test]
fn classes_that_arrive_later_leave_the_old_ones_known() {
    let folder = tempfile::tempdir().unwrap();
    let (adapter, later) = (folder.path().join("adapter"), folder.path().join("later"));
    teach(&taught().sounds(), &adapter, "2").ok();
    let old = classes(&adapter);
    put_instruments(&later, &["Vibraphone", "Rock Organ"], 0, 5);
    teach(&later, &adapter, "2").ok();
    let all = classes(&adapter);
    assert_eq!(all.len(), 5);
    assert!(old.iter().all(|class| all.contains(class)), "{old:?} {all:?}");
    let unheard: Vec<_> = INSTRUMENTS.iter().map(|i| (i, notes(i)[8].clone())).collect();
    for (class, note) in unheard {
        let heard = run!("classify", note, "--backbone", aisfx(), "--adapter", adapter, "--json").ok().json();
        assert_eq!(heard[0]["ranked"][0][0].as_str(), Some(*class));
    }
}

#[test]
fn each_head_classifies_and_the_half_precision_variant_hears_the_same() {
    let note = &notes("Violin")[7];
    for extra in [["--head", "ncm"], ["--head", "slda"], ["--head", "ridge"], ["--variant", "wave-f16"]] {
        let heard =
            run!("classify", note, "--backbone", aisfx(), "--adapter", taught().adapter(), "--json", extra[0], extra[1]).ok().json();
        assert_eq!(heard[0]["ranked"][0][0].as_str(), Some("Violin"), "{extra:?}");
        let total: f64 = heard[0]["ranked"].as_array().unwrap().iter().map(|r| r[1].as_f64().unwrap()).sum();
        assert!((total - 1.0).abs() < 1e-3, "{extra:?}: probabilities add up to {total}");
    }
    let other = run!("classify", note, "--backbone", aisfx(), "--adapter", taught().adapter(), "--variant", "int4");
    other.fails(6, &["int4", "mel-f32"]);
}

#[test]
fn an_adapter_finds_its_backbone_again_and_asks_when_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (sounds, adapter) = (folder.path().join("sounds"), folder.path().join("adapter"));
    put_instruments(&sounds, &INSTRUMENTS, 0, 3);
    teach(&sounds, &adapter, "2").ok();
    let found = run!("classify", &sounds, "--adapter", &adapter, "--json").ok().json();
    let named = run!("classify", &sounds, "--adapter", &adapter, "--backbone", aisfx(), "--json").ok().json();
    assert_eq!(found, named);
    std::fs::write(adapter.join("backbone"), "gone/elsewhere\n").unwrap();
    run!("classify", &sounds, "--adapter", &adapter).fails(6, &["no backbone is named", "--backbone"]);
    std::fs::write(adapter.join("backbone"), format!("{}\n", crate::material::speech().display())).unwrap();
    run!("classify", &sounds, "--adapter", &adapter).fails(5, &["another backbone"]);
}

#[test]
fn a_recording_under_two_classes_is_learned_as_both_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let (sounds, adapter) = (folder.path().join("sounds"), folder.path().join("adapter"));
    put_instruments(&sounds, &INSTRUMENTS, 0, 2);
    let clean = teach(&sounds, &adapter, "2");
    assert!(!clean.err.contains("another class"), "{}", clean.err);
    clean.ok();
    std::fs::create_dir(sounds.join("Mine")).unwrap();
    std::fs::copy(&notes("Violin")[0], sounds.join("Mine/moved.wav")).unwrap();
    let moved = teach(&sounds, &adapter, "2");
    assert!(moved.err.contains("moved.wav") && moved.err.contains("another class"), "{}", moved.err);
    let moved = moved.ok().json();
    assert_eq!((moved["sounds"].as_u64(), moved["relabelled"].as_array().unwrap().len()), (Some(1), 1));
}
