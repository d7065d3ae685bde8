//! Labels taken back, changed and forgotten.

use serde_json::{Value, json};

use crate::command::run;
use crate::material::{Copy, aisfx, classes, digest, held, inspect, notes, taught};

/// Rows of a class as `inspect` counts them.
fn rows_of(facts: &Value, class: &str) -> Option<u64> {
    facts["classes"].as_array().unwrap().iter().find(|c| c["name"] == class).and_then(|c| c["rows"].as_u64())
}

/// The ids of held rows that are exactly `class`.
fn ids(copy: &Copy, class: &str) -> Vec<u64> {
    held(&copy.adapter()).iter().filter(|r| r["is"] == json!([class])).map(|r| r["id"].as_u64().unwrap()).collect()
}

#[test]
fn undo_takes_back_the_last_recordings_and_they_can_be_taught_again() {
    let copy = Copy::of_taught();
    let before = digest(&copy.adapter());
    let taught = [copy.teach("Violin", 6, 7), copy.teach("Trombone", 6, 7)];
    let rows: u64 = taught.iter().map(|t| t["rows"].as_u64().unwrap()).sum();
    assert_ne!(digest(&copy.adapter()), before);
    let undone = run!("undo", copy.adapter(), "--labels", "2", "--json").ok().json();
    assert_eq!(
        (undone["rows"].as_u64(), undone["durable"].as_bool(), undone["recovery"].as_str()),
        (Some(rows), Some(true), Some("clean"))
    );
    let by_class = |i: usize| (undone["rows_by_class"][i]["class"].as_str().unwrap(), undone["rows_by_class"][i]["rows"].as_u64());
    assert_eq!([by_class(0), by_class(1)], [("Trombone", taught[1]["rows"].as_u64()), ("Violin", taught[0]["rows"].as_u64())]);
    assert_eq!(digest(&copy.adapter()), before);
    assert_eq!(copy.teach("Violin", 6, 7)["rows"], taught[0]["rows"]);
    let said = run!("undo", copy.adapter()).ok().out;
    assert!(said.contains("took back the last recording: ") && said.contains("Violin") && said.contains(", durable"), "{said}");
    assert!(said.contains("what was relabelled in others stays so: wheatear relabel"), "{said}");
    let help = run!("undo", "--help").ok().out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("What relabel changed is no label of its own"), "{help}");
    assert_eq!(digest(&copy.adapter()), before);
}

#[test]
fn undo_takes_back_nothing_when_it_cannot_take_back_all() {
    for (copy, code, word) in
        [(Copy::of_taught(), 3, "expected at most 18, found 99); wheatear undo --labels 18"), (Copy::of_crowded(), 11, "undo horizon")]
    {
        let before = digest(&copy.adapter());
        run!("undo", copy.adapter(), "--labels", "99").fails(code, &["adapter", word]);
        assert_eq!(digest(&copy.adapter()), before);
        assert_eq!(run!("undo", copy.adapter(), "--labels", "0").code, Some(2));
    }
    run!("undo", taught().sounds()).fails(4, &["sounds"]);
}

#[test]
fn rows_are_listed_by_class_the_newest_last() {
    let adapter = taught().adapter();
    let rows = held(&adapter);
    let all: Vec<u64> = rows.iter().map(|r| r["id"].as_u64().unwrap()).collect();
    assert_eq!(all, (1..=inspect(&adapter)["rows"].as_u64().unwrap()).collect::<Vec<_>>(), "nothing has left");
    for row in &rows {
        assert_eq!((row["by"].as_str(), row["undoable"].as_bool(), row["source"].as_str().unwrap().len()), (Some("teach"), Some(true), 16));
        assert!(row["time"].as_str().unwrap().ends_with('Z'), "{row}");
    }
    let held_out = rows.iter().filter(|r| r["held_out"] == true).count() as u64;
    assert_eq!(inspect(&adapter)["held_out_rows"].as_u64(), Some(held_out));
    let newest = run!("inspect", adapter, "--rows", "--class", "Violin", "--limit", "2").ok().out;
    let lines: Vec<&str> = newest.lines().collect();
    assert!(lines[0].starts_with("id,is,not,by,time,source,first_sample,flags,held_out,undoable,chunk,origin"), "{newest}");
    let expected: Vec<String> = all[all.len() - 2..].iter().map(|id| format!("{id},Violin,,teach,")).collect();
    assert!(lines.len() == 3 && lines[1..].iter().zip(&expected).all(|(l, e)| l.starts_with(e)), "{newest}");
    run!("inspect", adapter, "--rows", "--class", "Viola").fails(3, &["no such class", "Viola", "_background stands for"]);
    assert_eq!(run!("inspect", adapter, "--class", "Violin").code, Some(2), "without --rows");
}

#[test]
fn relabelled_rows_count_for_their_new_labels_and_back_again_as_before() {
    let copy = Copy::of_taught();
    let (adapter, before) = (copy.adapter(), digest(&copy.adapter()));
    let violin = ids(&copy, "Violin");
    let (first, last) = (violin[0], violin[violin.len() - 1]);
    let range = format!("{first}-{last}");
    let relabel = |labels: &[&str]| {
        let mut command = crate::command::wheatear();
        command.arg("relabel").arg(&adapter).args(["--row", &range, "--json"]).args(labels);
        crate::command::Ran::of(&mut command).ok().json()
    };
    let done = relabel(&["--is", "Viola; \"x, y\"", "--not", "Trombone", "--by", "a person"]);
    assert_eq!((done["rows"].as_u64(), done["durable"].as_bool()), (Some(violin.len() as u64), Some(true)));
    assert_eq!((&done["new_classes"], done["not_held"].as_u64()), (&json!(["Viola", "x, y"]), Some(0)));
    let facts = inspect(&adapter);
    assert_eq!((rows_of(&facts, "Violin"), facts["mixed_rows"].as_u64()), (None, Some(violin.len() as u64)));
    for row in held(&adapter).iter().filter(|r| violin.contains(&r["id"].as_u64().unwrap())) {
        assert_eq!((&row["is"], &row["not"], row["by"].as_str()), (&json!(["Viola", "x, y"]), &json!(["Trombone"]), Some("a person")));
    }
    assert!(run!("inspect", adapter, "--rows", "--class", "x, y").ok().out.contains(",\"Viola,\"\"x, y\"\"\",Trombone,"));
    relabel(&["--background"]);
    let none = run!("inspect", adapter, "--rows", "--class", "_background", "--json").ok().json();
    assert_eq!(none["rows"].as_array().unwrap().len(), violin.len(), "rows of no class are listed as their folder is called");
    for (is, cure) in [("!Violin", "with --not, without the !"), ("!*", "with --background"), ("Viola;", "no usable class name")] {
        let refused = run!("relabel", adapter, "--row", first.to_string(), "--is", is);
        assert!(refused.code == Some(2) && refused.err.contains(cure), "{refused:?}");
    }
    let facts = inspect(&adapter);
    assert_eq!(
        (facts["background_rows"].as_u64(), facts["held_background_rows"].as_u64()),
        (Some(violin.len() as u64), Some(violin.len() as u64))
    );
    relabel(&["--is", "Violin"]);
    assert_eq!(digest(&adapter), before);
}

#[test]
fn of_ranges_the_held_rows_are_relabelled_and_single_rows_must_be_held() {
    let copy = Copy::of_crowded();
    let adapter = copy.adapter();
    let rows: Vec<u64> = held(&adapter).iter().map(|r| r["id"].as_u64().unwrap()).collect();
    let last = rows[rows.len() - 1];
    let gone = (1..last).find(|id| !rows.contains(id)).unwrap();
    let before = digest(&adapter);
    run!("relabel", adapter, "--row", gone.to_string(), "--is", "x").fails(3, &["not held", &format!("row {gone}"), "inspect --rows"]);
    run!("relabel", adapter, "--row", format!("{}-{}", last + 1, u64::MAX), "--is", "x").fails(3, &["no row of a range is held"]);
    run!("relabel", adapter, "--row", last.to_string(), "--is", "x", "--not", "x").fails(3, &["both be a class and not be it"]);
    for bad in
        [&["--row", "7"][..], &["--is", "x"], &["--row", "9-7", "--is", "x"], &["--row", "x", "--is", "x"], &["--row", "7", "--is", ""]]
            .into_iter()
            .chain([&["--row", "7", "--is", "x", "--background"][..]])
    {
        let mut command = crate::command::wheatear();
        command.arg("relabel").arg(&adapter).args(bad);
        assert_eq!(crate::command::Ran::of(&mut command).code, Some(2), "{bad:?}");
    }
    assert_eq!(digest(&adapter), before);
    let done = run!("relabel", adapter, "--row", format!("1-{}", u64::MAX), "--is", "x", "--json").ok().json();
    assert_eq!(done["rows"].as_u64(), Some(rows.len() as u64));
    assert_eq!(done["not_held"].as_u64(), Some(u64::MAX - rows.len() as u64));
}

#[test]
fn a_forgotten_class_is_named_no_more_and_can_be_taught_again() {
    let copy = Copy::of_taught();
    let (adapter, before) = (copy.adapter(), digest(&copy.adapter()));
    let rows = rows_of(&inspect(&adapter), "Violin").unwrap();
    let done = run!("forget", adapter, "Violin", "--json").ok().json();
    assert_eq!((done["rows_taken_back"].as_u64(), done["rows_retired"].as_u64()), (Some(rows), Some(0)));
    assert_eq!(classes(&adapter).iter().map(|c| c.0.as_str()).collect::<Vec<_>>(), ["Church Organ", "Trombone"]);
    let heard = run!("classify", notes("Violin")[7], "--backbone", aisfx(), "--adapter", adapter, "--json").ok().json();
    assert!(heard[0]["ranked"].as_array().unwrap().iter().all(|r| r[0] != "Violin"), "{heard}");
    run!("forget", adapter, "Violin").fails(3, &["no such class", "Violin"]);
    let again = run!("teach", taught().sounds(), "--backbone", aisfx(), "--adapter", adapter, "--json").ok().json();
    assert_eq!((again["sounds"].as_u64(), again["rows"].as_u64()), (Some(6), Some(rows)));
    assert_eq!(digest(&adapter), before);
}

#[test]
fn what_left_replay_stays_retired_without_a_name() {
    let copy = Copy::of_crowded();
    let (adapter, before) = (copy.adapter(), inspect(&copy.adapter()));
    let (rows, evicted) = (rows_of(&before, "Church Organ").unwrap(), before["evicted_rows"].as_u64().unwrap());
    assert!(evicted > 0 && held(&adapter).iter().filter(|r| r["is"] == json!(["Church Organ"])).count() as u64 == rows - evicted);
    let done = run!("forget", adapter, "Church Organ", "--json").ok().json();
    assert_eq!((done["rows_taken_back"].as_u64(), done["rows_retired"].as_u64()), (Some(rows - evicted), Some(evicted)));
    let after = inspect(&adapter);
    let retired = &after["retired_classes"][0];
    assert_eq!((retired["rows"].as_u64(), retired["digits"].as_str().unwrap().len()), (Some(evicted), 32));
    assert_eq!(after["rows"].as_u64(), Some(before["rows"].as_u64().unwrap() - rows + evicted));
    for text in [run!("inspect", &adapter).ok().out, after.to_string()] {
        assert!(text.contains("retired") && !text.contains("Church Organ") && !text.contains("\\u0001"), "{text}");
    }
    run!("verify", adapter).ok();
}

#[test]
fn a_class_forgotten_hard_is_in_no_file_and_what_else_would_be_lost_must_be_confirmed() {
    let holds = |copy: &Copy, name: &str| copy.files().iter().any(|(_, bytes)| bytes.windows(name.len()).any(|w| w == name.as_bytes()));
    let whole = Copy::of_taught();
    assert!(holds(&whole, "Violin"));
    let done = run!("forget", whole.adapter(), "Violin", "--hard", "--json").ok().json();
    assert_eq!((done["forgotten"].as_bool(), &done["lost_beside"]), (Some(true), &json!([])), "nothing else had left");
    assert!(!holds(&whole, "Violin") && holds(&whole, "Trombone"));

    let copy = Copy::of_crowded();
    let (adapter, before) = (copy.adapter(), digest(&copy.adapter()));
    let evicted = inspect(&adapter)["evicted_rows"].as_u64().unwrap();
    let lost = format!("Church Organ {evicted}");
    let refused = run!("forget", adapter, "Violin", "--hard").fails(3, &["--yes", &lost]);
    assert_eq!(refused.out, format!("would lose beside Violin: {lost}\n"));
    let refused = run!("forget", adapter, "Violin", "--hard", "--json").fails(3, &["--yes"]).json();
    assert_eq!((refused["forgotten"].as_bool(), refused["lost_beside"][0]["rows"].as_u64()), (Some(false), Some(evicted)));
    assert!(digest(&adapter) == before && holds(&copy, "Violin"));
    assert_eq!(run!("forget", adapter, "Violin", "--yes").code, Some(2), "only with --hard");
    run!("forget", adapter, "Violin", "--hard", "--yes").ok();
    assert!(!holds(&copy, "Violin"));
    let facts = inspect(&adapter);
    assert_eq!((facts["evicted_rows"].as_u64(), facts["file_set"].as_u64()), (Some(0), Some(1)));
    run!("verify", adapter).ok();
}
