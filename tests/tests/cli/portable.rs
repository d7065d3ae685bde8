//! Dumps: written, read by hand as any program could, and loaded again.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::command::run;
use crate::material::{Copy, aisfx, digest, held, inspect, notes, put_instruments, speech, taught};

/// The tensors of a safetensors file, read by the description of the format: name, type, shape, bytes.
fn tensors(path: &Path) -> BTreeMap<String, (String, Vec<u64>, Vec<u8>)> {
    let bytes = std::fs::read(path).unwrap();
    let (len, rest) = bytes.split_first_chunk::<8>().unwrap();
    let (head, data) = rest.split_at(u64::from_le_bytes(*len) as usize);
    let head: BTreeMap<String, Value> = serde_json::from_slice(head).unwrap();
    let tensor = |(name, v): (String, Value)| {
        let at = |i: usize| v["data_offsets"][i].as_u64().unwrap() as usize;
        let shape = v["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
        (name, (v["dtype"].as_str().unwrap().to_owned(), shape, data[at(0)..at(1)].to_vec()))
    };
    head.into_iter().map(tensor).collect()
}

fn i64s(bytes: &[u8]) -> Vec<i64> {
    bytes.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect()
}

/// An adapter with everything that one can have: several labels, background, a retired class, rows that left, corrections.
fn rich() -> Copy {
    let copy = Copy::of_crowded();
    let rows = held(&copy.adapter());
    let violin: Vec<String> = rows.iter().filter(|r| r["is"] == json!(["Violin"])).map(|r| r["id"].to_string()).collect();
    run!("relabel", copy.adapter(), "--row", violin[0], "--is", "Violin,Viola", "--not", "Trombone", "--by", "a person").ok();
    run!("relabel", copy.adapter(), "--row", violin[1], "--background").ok();
    run!("forget", copy.adapter(), "Church Organ").ok();
    copy
}

#[test]
fn a_dump_holds_what_the_adapter_holds_for_any_program_to_read() {
    let (copy, whole) = (rich(), taught().adapter());
    let (dumped, out) = (copy.beside("dump"), copy.beside("whole"));
    run!("dump", copy.adapter(), "--out", dumped).ok();
    let done = run!("dump", whole, "--out", out, "--json").ok().json();
    assert_eq!((done["statistics_sha256"].as_str(), done["blocks"].as_u64()), (Some(digest(&whole).as_str()), Some(1)));
    let on_disk: u64 = std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
    assert_eq!(done["bytes"].as_u64(), Some(on_disk));

    // Nothing has left: the held rows add up to the statistics.
    let (rows, sums) = (tensors(&out.join("rows.safetensors")), tensors(&out.join("statistics.safetensors")));
    let (kind, shape, latents) = &rows["latents"];
    assert_eq!((kind.as_str(), shape.as_slice()), ("I8", &[inspect(&whole)["rows"].as_u64().unwrap(), 512][..]));
    let rows: Vec<Vec<i64>> = latents.chunks(512).map(|row| row.iter().map(|b| i64::from(*b as i8)).collect()).collect();
    let sum: Vec<i64> = (0..512).map(|d| rows.iter().map(|r| r[d]).sum()).collect();
    assert_eq!(i64s(&sums["block.0.sum"].2), sum);
    let gram: Vec<i64> =
        (0..512).flat_map(|i| (i..512).map(move |j| (i, j))).map(|(i, j)| rows.iter().map(|r| r[i] * r[j]).sum()).collect();
    assert_eq!(i64s(&sums["block.0.gram"].2), gram);
    let class_sums = i64s(&sums["block.0.class_sums"].2);
    assert_eq!((0..512).map(|d| class_sums[d] + class_sums[512 + d] + class_sums[1024 + d]).collect::<Vec<_>>(), sum);

    // Each row says what `inspect --rows` says.
    let json: Value = serde_json::from_slice(&std::fs::read(dumped.join("adapter.json")).unwrap()).unwrap();
    let rows = tensors(&dumped.join("rows.safetensors"));
    let listed = held(&copy.adapter());
    assert_eq!((json["format"].as_u64(), json["dim"].as_u64(), json["bits"].as_u64()), (Some(1), Some(512), Some(8)));
    assert_eq!(rows["id"].1, [listed.len() as u64]);
    for (i, row) in listed.iter().enumerate() {
        let u32_of = |name: &str| u32::from_le_bytes(*rows[name].2.as_chunks::<4>().0.get(i).unwrap()) as usize;
        let (labels, batch) = (&json["labels"][u32_of("labels")], &json["batches"][u32_of("batch")]);
        assert_eq!((i64s(&rows["id"].2)[i] as u64, &labels["is"], &labels["not"]), (row["id"].as_u64().unwrap(), &row["is"], &row["not"]));
        assert_eq!((&batch["by"], &batch["source"]), (&row["by"], &row["source"]));
        assert_eq!(
            (i64s(&rows["start_sample"].2)[i] as u64, rows["held_out"].2[i] == 1),
            (row["first_sample"].as_u64().unwrap(), row["held_out"] == true)
        );
    }
}

#[test]
fn what_is_loaded_has_all_that_was_dumped_and_learns_on_as_another() {
    let copy = rich();
    let (first, loaded, second) = (copy.beside("first"), copy.beside("loaded"), copy.beside("second"));
    run!("dump", copy.adapter(), "--out", first).ok();
    let done = run!("load", first, "--adapter", loaded, "--json").ok().json();
    run!("dump", loaded, "--out", second).ok();
    for file in ["rows.safetensors", "statistics.safetensors"] {
        assert!(std::fs::read(first.join(file)).unwrap() == std::fs::read(second.join(file)).unwrap(), "{file}");
    }
    let (before, after) = (inspect(&copy.adapter()), inspect(&loaded));
    assert_eq!(held(&loaded), held(&copy.adapter()));
    for same in
        ["statistics_sha256", "classes", "retired_classes", "recordings", "evicted_rows", "seed", "space", "origins", "oldest_undoable_row"]
    {
        assert_eq!(after[same], before[same], "{same}");
    }
    assert_eq!((done["dumped_by"].as_str(), done["origin"].as_str()), (before["learns_as"].as_str(), after["learns_as"].as_str()));
    assert!(after["generation"].as_u64() > before["generation"].as_u64());
    let parts = |v: &Value| v["learns_as"].as_str().unwrap().split_once('.').map(|(d, i)| (d.to_owned(), i.to_owned())).unwrap();
    assert!(parts(&after).0 == parts(&before).0 && parts(&after).1 != parts(&before).1, "the same device, another incarnation");
    run!("verify", loaded).ok();

    // It goes on from there: what it knows is not learned again, what is new is, by the new incarnation.
    let sounds = copy.beside("sounds");
    put_instruments(&sounds, &["Violin"], 5, 7);
    let more = run!("teach", sounds, "--backbone", aisfx(), "--adapter", loaded, "--json").ok().json();
    assert_eq!((more["already_known"].as_u64(), more["sounds"].as_u64()), (Some(1), Some(1)));
    assert_eq!(inspect(&loaded)["origins"].as_array().unwrap().len(), 2);
    run!("undo", loaded).ok();
    assert_eq!(digest(&loaded), digest(&copy.adapter()));
    run!("undo", loaded).ok();
    run!("undo", copy.adapter()).ok();
    assert_eq!(digest(&loaded), digest(&copy.adapter()), "rows of the old incarnation are taken back, too");
}

#[test]
fn what_is_loaded_remembers_the_backbone_that_is_named_or_says_to_name_it() {
    let copy = Copy::of_taught();
    let (dump, loaded, bare) = (copy.beside("dump"), copy.beside("loaded"), copy.beside("bare"));
    run!("dump", copy.adapter(), "--out", dump).ok();
    run!("load", dump, "--adapter", loaded, "--backbone", speech()).fails(5, &["another backbone", "aisfx", "leave out --backbone"]);
    assert!(!loaded.exists(), "nothing was made");
    run!("load", dump, "--adapter", loaded, "--backbone", aisfx()).ok();
    run!("classify", notes("Violin")[7], "--adapter", loaded).ok();
    let said = run!("load", dump, "--adapter", bare).ok().out;
    assert!(said.contains("belongs to the backbone aisfx: name its folder with --backbone"), "{said}");
    run!("classify", notes("Violin")[7], "--adapter", bare).fails(6, &["no backbone is named", "--backbone"]);
}

#[test]
fn equal_rows_are_equal_files_however_they_lie() {
    let copy = rich();
    let other = Copy::of(&copy.adapter());
    let violin: Vec<String> = held(&copy.adapter()).iter().filter(|r| r["is"] == json!(["Violin"])).map(|r| r["id"].to_string()).collect();
    let relabel = |copy: &Copy, id: &str| drop(run!("relabel", copy.adapter(), "--row", id, "--is", "Viola").ok());
    violin[..3].iter().for_each(|id| relabel(&copy, id));
    violin[..3].iter().rev().for_each(|id| relabel(&other, id));
    let files = |copy: &Copy, name: &str| {
        run!("dump", copy.adapter(), "--out", copy.beside(name)).ok();
        ["rows.safetensors", "statistics.safetensors"].map(|file| std::fs::read(copy.beside(name).join(file)).unwrap())
    };
    let first = files(&copy, "first");
    assert!(files(&other, "first") == first, "corrected in another order");
    run!("compact", copy.adapter()).ok();
    assert!(files(&copy, "compact") == first, "written anew");
}

#[test]
fn an_empty_adapter_is_dumped_and_loaded() {
    let copy = Copy::of_taught();
    for class in ["Violin", "Trombone", "Church Organ"] {
        run!("forget", copy.adapter(), class).ok();
    }
    run!("dump", copy.adapter(), "--out", copy.beside("dump")).ok();
    run!("load", copy.beside("dump"), "--adapter", copy.beside("loaded")).ok();
    assert_eq!(inspect(&copy.beside("loaded"))["rows"].as_u64(), Some(0));
    run!("teach", taught().sounds(), "--backbone", aisfx(), "--adapter", copy.beside("loaded")).ok();
    assert_eq!(digest(&copy.beside("loaded")), digest(&taught().adapter()));
}
