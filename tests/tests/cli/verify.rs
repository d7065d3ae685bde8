//! What `wheatear verify` says of adapters that are whole, that are damaged and open all the same, and that do not open.

use crate::command::run;
use crate::material::{Copy, aisfx, digest, inspect, notes, taught};

/// A copy with bytes of one of its files changed.
fn damaged(copy: &Copy, file: &str, change: impl FnOnce(&mut Vec<u8>)) -> Copy {
    let damaged = Copy::of(&copy.adapter());
    let path = damaged.adapter().join(file);
    let mut bytes = std::fs::read(&path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
    damaged
}

#[test]
fn a_whole_adapter_is_clean_and_told_in_numbers() {
    let seen = run!("verify", taught().adapter(), "--json").ok().json();
    let facts = inspect(&taught().adapter());
    assert_eq!((seen["verdict"].as_str(), seen["says"].as_str()), (Some("clean"), Some("clean")));
    let on_disk: u64 = ["header", "chunks", "state"].iter().map(|f| std::fs::metadata(taught().adapter().join(f)).unwrap().len()).sum();
    assert_eq!((seen["bytes"].as_u64(), &seen["held_rows"], seen["header_copies"].as_u64()), (Some(on_disk), &facts["rows"], Some(2)));
    assert_eq!((seen["summed_blocks"].as_u64(), seen["blocks"].as_u64(), seen["records"].as_u64()), (Some(1), Some(1), Some(18)));
    let crowded = Copy::of_crowded();
    let text = run!("verify", crowded.adapter()).ok().out;
    for word in [": clean", "0 damaged", "0 of 1 blocks are exactly", "3 of 256 classes"] {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
}

#[test]
fn damage_that_opening_forgives_is_found() {
    let copy = Copy::of_taught();
    run!("compact", copy.adapter()).ok();
    let known = digest(&copy.adapter());
    let flip = |at: usize| move |bytes: &mut Vec<u8>| bytes[at] ^= 4;
    for (file, at, word) in [
        ("header", 200, "two copies of the header"),
        ("state.1", 100, "checkpoint"),
        ("state.1", 8 * 65_536 + 100, "checkpoint"),
        ("chunks.1", 30, "first bytes"),
    ] {
        let damaged = damaged(&copy, file, flip(at));
        let ran = run!("verify", damaged.adapter(), "--json").fails(9, &["not as it was written", "damaged in 1 place", "wheatear repair"]);
        let seen = ran.json();
        assert_eq!((seen["verdict"].as_str(), seen["findings"].as_array().unwrap().len()), (Some("damaged"), 1), "{file} {at}: {seen}");
        let found = &seen["findings"][0];
        assert!(found["what"].as_str().unwrap().contains(word) && found["at"].as_str().unwrap().starts_with(file), "{found}");
        assert_eq!(digest(&damaged.adapter()), known, "it opens all the same");
    }
    let short = damaged(&copy, "state.1", |bytes| bytes.truncate(bytes.len() - 70_000));
    run!("verify", short.adapter()).fails(9, &["damaged in 1 place"]);
    let rows = damaged(&copy, "chunks.1", flip(2000));
    let seen = run!("verify", rows.adapter(), "--json").fails(9, &["damaged"]).json();
    assert_eq!(seen["damaged_chunks"].as_u64(), Some(1));
    assert!(seen["findings"][0]["means"].as_str().unwrap().contains("left replay"), "{seen}");
    // Other commands say so, too.
    let ran = run!("rollback", rows.adapter(), "--json").ok();
    assert!(ran.err.contains("1 chunks are damaged") && ran.json()["damaged_chunks"].as_u64() == Some(1), "{ran:?}");
}

#[test]
fn a_damaged_adapter_is_written_anew_only_where_repair_would_save_no_more() {
    let copy = Copy::of_taught();
    run!("compact", copy.adapter()).ok();
    let one = damaged(&copy, "chunks.1", |bytes| bytes[2000] ^= 4);
    let files = one.files();
    run!("compact", one.adapter()).fails(9, &["would lose rows that are whole", "found 0", "wheatear repair", "--out"]);
    assert!(one.files() == files, "nothing was written");
    run!("repair", one.adapter(), "--out", one.beside("new"), "--yes").ok();
    assert!(inspect(&one.beside("new"))["replay_rows"].as_u64() > Some(0));
    let all = damaged(&copy, "chunks.1", |bytes| bytes[600..65_000].fill(0xee));
    run!("compact", all.adapter()).ok();
    assert_eq!(inspect(&all.adapter())["damaged_chunks"].as_u64(), Some(0));
}

#[test]
fn a_torn_record_is_rolled_back_and_every_command_says_so() {
    let copy = Copy::of_taught();
    let before = inspect(&copy.adapter())["generation"].as_u64().unwrap();
    // A commit that no checkpoint covers yet.
    run!("relabel", copy.adapter(), "--row", "1", "--is", "Violin").ok();
    let copy = damaged(&copy, "chunks", |bytes| {
        let last = bytes.iter().rposition(|b| *b != 0).unwrap();
        bytes[last] ^= 1;
    });
    let said = &*format!("rolled back to {before} (lost: nothing acknowledged)");
    let ran = run!("verify", copy.adapter()).fails(9, &["not as it was written", said, "mends that"]);
    assert!(ran.out.contains(said), "{ran:?}");
    assert_eq!(run!("verify", copy.adapter(), "--json").fails(9, &[said]).json()["verdict"].as_str(), Some("rolled-back"));
    let ran = run!("classify", notes("Violin")[7], "--backbone", aisfx(), "--adapter", copy.adapter()).ok();
    assert!(ran.err.contains(said), "{ran:?}");
    let ran = run!("undo", copy.adapter(), "--json").ok();
    assert!(ran.err.contains(said) && ran.json()["recovery"].as_str() == Some(said), "{ran:?}");
    run!("verify", copy.adapter()).ok();
}

#[test]
fn what_cannot_be_opened_is_refused_with_the_reason() {
    let copy = Copy::of_taught();
    let both = damaged(&copy, "header", |bytes| {
        let half = bytes.len() / 2;
        (bytes[100], bytes[half + 100]) = (!bytes[100], !bytes[half + 100]);
    });
    let ran = run!("verify", both.adapter()).fails(9, &["cannot be opened", "wheatear repair"]);
    assert!(ran.out.contains("refused, because ") && ran.out.contains("header"), "{ran:?}");
    let gone = Copy::of(&copy.adapter());
    std::fs::remove_file(gone.adapter().join("chunks")).unwrap();
    let seen = run!("verify", gone.adapter(), "--json").fails(9, &["cannot be opened"]).json();
    assert!(seen["verdict"].as_str() == Some("refused") && seen["says"].as_str().unwrap().contains("chunks"), "{seen}");
    run!("verify", copy.beside("nowhere")).fails(4, &["nowhere"]);
    run!("verify", taught().sounds()).fails(4, &["this folder is no adapter"]);
}
