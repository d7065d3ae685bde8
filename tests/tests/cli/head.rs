//! The head that an adapter serves: shown, and used by classify.

use std::path::Path;

use serde_json::Value;

use crate::command::run;
use crate::material::{Copy, INSTRUMENTS, aisfx, inspect, notes, put, put_instruments, taught};

#[test]
fn inspect_shows_what_the_head_is_pooled_from() {
    let facts = run!("inspect", taught().adapter(), "--head", "--json").ok().json();
    let members = facts["members"].as_array().unwrap();
    assert_eq!(members.iter().map(|m| m["name"].as_str().unwrap()).collect::<Vec<_>>(), ["slda", "ridge"]);
    assert!((members.iter().map(|m| m["weight"].as_f64().unwrap()).sum::<f64>() - 1.0).abs() < 1e-9);
    assert!(facts["accuracy"].as_f64().unwrap() > 0.5 && facts["judging_rows"].as_u64().unwrap() > 5, "{facts}");
    assert_eq!((facts["tells_unknown"].as_bool(), facts["doubtful"].as_array().map(Vec::len)), (Some(true), Some(0)));
    let table = run!("inspect", taught().adapter(), "--head").ok().out;
    assert!(table.contains("slda") && table.contains("shrinkage") && table.contains("ridge"), "{table}");
}

#[test]
fn classify_says_how_probably_a_window_is_of_no_known_class() {
    let known = notes(INSTRUMENTS[0])[4].clone();
    let windows = |head: &str| {
        let heard = run!("classify", &known, "--backbone", aisfx(), "--adapter", taught().adapter(), "--head", head, "--json").ok().json();
        heard[0]["windows"].as_array().unwrap().clone()
    };
    assert!(windows("auto").iter().any(|w| w["unknown"].as_f64().is_some_and(|p| (0.0..=1.0).contains(&p))));
    assert!(windows("slda").iter().all(|w| w["unknown"].is_null()));
}

#[test]
fn a_head_that_no_row_can_judge_shows_no_percentage_and_what_helps() {
    let folder = tempfile::tempdir().unwrap();
    let (sounds, adapter) = (folder.path().join("sounds"), folder.path().join("adapter"));
    put_instruments(&sounds, &INSTRUMENTS, 0, 1);
    run!("teach", &sounds, "--backbone", aisfx(), "--adapter", &adapter).ok();
    let heard = run!("classify", &sounds, "--adapter", &adapter).ok();
    assert!(heard.out.contains("[no held row can judge this]") && !heard.out.contains('%'), "{}", heard.out);
    assert!(heard.err.contains("two recordings of each"), "{}", heard.err);
    assert!(run!("inspect", &adapter, "--head").ok().out.contains("two recordings of each"));

    let copy = Copy::of_taught();
    run!("compact", copy.adapter()).ok();
    let chunks = copy.adapter().join("chunks.1");
    let mut bytes = std::fs::read(&chunks).unwrap();
    bytes[2000] ^= 4;
    std::fs::write(&chunks, bytes).unwrap();
    run!("forget", copy.adapter(), "Trombone").ok();
    assert!(inspect(&copy.adapter())["damaged_chunks"] == 1);
    let classify = |format: &str| run!("classify", notes("Violin")[8], "--adapter", copy.adapter(), "--format", format).ok();
    let heard = classify("table");
    assert!(heard.out.contains("[no held row can judge this]") && !heard.out.contains('%'), "{}", heard.out);
    assert!(heard.err.contains("how sure it is means nothing; the rows of 1 damaged chunk left") && heard.err.contains("wheatear repair"));
    assert!(classify("json").json()[0]["unjudged"].as_str().unwrap().contains("wheatear repair"));
}

#[test]
fn a_head_of_wrong_labels_is_refused_until_a_person_accepts_it() {
    let folder = tempfile::tempdir().unwrap();
    let (right, wrong, adapter) = (folder.path().join("right"), folder.path().join("wrong"), folder.path().join("adapter"));
    put_instruments(&right, &INSTRUMENTS, 0, 6);
    let [organ, trombone, violin] = INSTRUMENTS;
    // Organ and trombone are taken for each other, more often than they had been told apart.
    for (sound, said) in [(organ, trombone), (trombone, organ), (violin, violin)] {
        put(&wrong.join(said), &notes(sound)[6..]);
    }
    let teach = |sounds: &Path| run!("teach", sounds, "--backbone", aisfx(), "--adapter", &adapter, "--json").ok().json();
    let first = teach(&right);
    assert!(first["verdict"].is_null() && first["serves"] == first["generation"], "{first}");
    let second = teach(&wrong);
    assert_eq!((&second["verdict"]["worse"][0], &second["serves"]), (&"accuracy".into(), &first["generation"]), "{second}");
    let asked = |key: &str| second["asked"][key].as_u64().unwrap();
    assert!(asked("windows") > 50 && asked("right") * 3 < asked("windows"), "{second}");

    let organ_is = |heard: Value| heard[0]["ranked"][0][0].as_str().unwrap().to_owned();
    let classify = || run!("classify", &notes(organ)[8], "--backbone", aisfx(), "--adapter", &adapter, "--json").ok();
    let heard = classify();
    assert!(heard.err.contains("was refused") && heard.err.contains("wheatear accept"), "{}", heard.err);
    assert_eq!(organ_is(heard.json()), organ);
    let shown = run!("inspect", &adapter, "--head").ok().out;
    assert!(shown.contains("was refused: old classes are named right less often") && shown.contains("before they were learned"), "{shown}");

    let accepted = run!("accept", &adapter, "--json").ok().json();
    assert!(accepted["was_refused"] == true && accepted["generation"].as_u64() > second["generation"].as_u64(), "{accepted}");
    let heard = classify();
    assert!(!heard.err.contains("refused"), "{}", heard.err);
    assert_ne!(organ_is(heard.json()), organ);
    assert_eq!(run!("accept", &adapter, "--json").ok().json()["was_refused"], false);
}
