//! Earlier generations, and writing an adapter anew.

use crate::command::run;
use crate::material::{Copy, aisfx, digest, held, inspect, write_samples};

#[test]
fn going_back_lists_what_it_loses_asks_first_and_learns_on_as_another() {
    let copy = Copy::of_taught();
    let adapter = copy.adapter();
    run!("compact", adapter).ok();
    let (before, known) = (inspect(&adapter), digest(&adapter));
    let to = before["generations"][0].as_u64().unwrap();
    assert_eq!(before["generations"].as_array().unwrap().len(), 1);
    let taught = copy.teach("Violin", 6, 8);
    run!("forget", adapter, "Trombone").ok();
    let late = digest(&adapter);
    let listed = run!("rollback", adapter, "--json").ok().json();
    let way = listed["ways"].as_array().unwrap().iter().find(|w| w["to"].as_u64() == Some(to)).unwrap();
    assert_eq!((way["to"].as_u64(), way["loses"][0]["class"].as_str()), (Some(to), Some("Violin")));
    assert_eq!((&way["loses"][0]["rows"], way["brings_back"][0]["class"].as_str()), (&taught["rows"], Some("Trombone")));
    assert_eq!((&way["held_rows"], &way["recordings"]), (&before["replay_rows"], &before["recordings"]));
    let text = run!("rollback", adapter).ok().out;
    assert!(text.contains(&format!("--to {to}")) && text.contains("loses Violin") && text.contains("brings back Trombone"), "{text}");

    let asked = run!("rollback", adapter, "--to", to.to_string(), "--json").fails(3, &["not confirmed", "--yes"]).json();
    assert_eq!(asked["rolled_back"].as_bool(), Some(false));
    run!("rollback", adapter, "--to", "999999", "--yes")
        .fails(3, &["no checkpoint of this generation", &to.to_string(), "999999", "without --to lists"]);
    assert_eq!(run!("rollback", adapter, "--yes").code, Some(2));
    assert_eq!(digest(&adapter), late);

    let done = run!("rollback", adapter, "--to", to.to_string(), "--yes", "--json").ok().json();
    assert_eq!((done["rolled_back"].as_bool(), done["durable"].as_bool()), (Some(true), Some(true)));
    assert_eq!(digest(&adapter), known);
    let after = inspect(&adapter);
    assert!(after["generation"].as_u64() > listed["generation"].as_u64(), "the generation grows on");
    assert_eq!((&after["origins"], &after["learns_as"]), (&before["origins"], &done["origin"]));
    assert_ne!(after["learns_as"], before["learns_as"]);
    run!("verify", adapter).ok();
    assert_eq!(copy.teach("Violin", 6, 8)["rows"], taught["rows"], "what was lost can be taught again");
    assert_eq!(inspect(&adapter)["origins"].as_array().unwrap().len(), 2);
}

#[test]
fn without_a_checkpoint_there_is_nothing_to_go_back_to() {
    let folder = tempfile::tempdir().unwrap();
    let (sounds, adapter) = (folder.path().join("sounds"), folder.path().join("adapter"));
    std::fs::create_dir_all(sounds.join("nothing")).unwrap();
    write_samples(&sounds.join("nothing/silence.wav"), 44_100, &[0.0; 88_200]);
    run!("teach", &sounds, "--backbone", aisfx(), "--adapter", &adapter).ok();
    assert!(run!("rollback", &adapter).ok().out.contains("nothing to go back to"));
    run!("rollback", &adapter, "--to", "3").fails(3, &["no checkpoint of this generation"]);
}

#[test]
fn an_adapter_written_anew_has_all_that_it_had() {
    let copy = Copy::of_crowded();
    let adapter = copy.adapter();
    let (before, rows, facts) = (digest(&adapter), held(&adapter), inspect(&adapter));
    let done = run!("compact", adapter, "--json").ok().json();
    assert_eq!((&done["held_rows"], done["file_set"].as_u64(), done["durable"].as_bool()), (&facts["replay_rows"], Some(1), Some(true)));
    assert!(done["chunks"].as_u64() <= done["chunks_before"].as_u64());
    assert_eq!((digest(&adapter), held(&adapter)), (before, rows));
    let mut names: Vec<String> = copy.files().into_iter().map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(names, ["backbone", "chunks.1", "header", "lock", "state.1"]);
    run!("verify", adapter).ok();
}
