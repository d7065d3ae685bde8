//! Dumps that are damaged, changed by hand or made up: each is refused with what is wrong, and no adapter is begun.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::command::{Ran, run};
use crate::material::{Copy, taught};

/// A dump that can be changed.
struct Dump {
    folder: TempDir,
}

impl Dump {
    fn new() -> Dump {
        let dump = Dump { folder: tempfile::tempdir().unwrap() };
        run!("dump", taught().adapter(), "--out", dump.path()).ok();
        dump
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("dump")
    }

    fn load(&self) -> Ran {
        let adapter = self.folder.path().join("adapter");
        let ran = run!("load", self.path(), "--adapter", adapter);
        assert!(ran.code == Some(0) || !adapter.exists(), "an adapter was begun: {ran:?}");
        ran
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.path().join("adapter.json")).unwrap()).unwrap()
    }

    fn put(&self, json: &Value) {
        std::fs::write(self.path().join("adapter.json"), json.to_string()).unwrap();
    }

    /// Loads it with `change` made to its JSON, and puts that back.
    fn with_json(&self, change: impl FnOnce(&mut Value)) -> Ran {
        let whole = self.json();
        let mut json = whole.clone();
        change(&mut json);
        self.put(&json);
        let ran = self.load();
        self.put(&whole);
        ran
    }

    /// Loads it with `change` made to the bytes of a file's tensor and the digest made right, and puts that back.
    fn with_tensor(&self, file: &str, tensor: &str, change: impl FnOnce(&mut [u8])) -> Ran {
        let path = self.path().join(file);
        let whole = std::fs::read(&path).unwrap();
        let head_len = u64::from_le_bytes(*whole.first_chunk().unwrap()) as usize;
        let head: Value = serde_json::from_slice(&whole[8..8 + head_len]).unwrap();
        let at = |i: usize| 8 + head_len + head[tensor]["data_offsets"][i].as_u64().unwrap() as usize;
        let mut bytes = whole.clone();
        change(&mut bytes[at(0)..at(1)]);
        let ran = self.with_bytes(&path, &bytes);
        std::fs::write(&path, whole).unwrap();
        ran
    }

    fn with_bytes(&self, path: &Path, bytes: &[u8]) -> Ran {
        std::fs::write(path, bytes).unwrap();
        let digest: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
        self.with_json(|json| json["files"][path.file_name().unwrap().to_str().unwrap()] = json!(digest))
    }
}

#[test]
fn files_that_are_damaged_missing_or_of_another_form_are_refused() {
    let dump = Dump::new();
    let rows = dump.path().join("rows.safetensors");
    let whole = std::fs::read(&rows).unwrap();
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    std::fs::write(&rows, &flipped).unwrap();
    dump.load().fails(5, &["rows.safetensors", "another digest", "expected sha256 "]);
    for bytes in [&whole[..whole.len() - 1], b"", b"\xff\xff\xff\xff\xff\xff\xff\x7f{}", &whole[..200]] {
        dump.with_bytes(&rows, bytes).fails(3, &["no whole safetensors file", "rows.safetensors"]);
    }
    std::fs::remove_file(&rows).unwrap();
    dump.load().fails(4, &["rows.safetensors"]);
    std::fs::write(&rows, &whole).unwrap();
    dump.with_json(|json| json["format"] = json!(2)).fails(5, &["another form", "expected 1", "found 2", "update wheatear"]);
    dump.with_json(|json| json["surprise"] = json!(1)).fails(3, &["cannot be read", "surprise"]);
    dump.with_json(|json| json["files"]["more"] = json!("00")).fails(3, &["two files"]);
    dump.with_json(|json| *json = json!([])).fails(3, &["adapter.json"]);
    run!("load", dump.folder.path(), "--adapter", dump.folder.path().join("adapter")).fails(4, &["adapter.json", "wheatear dump"]);
    dump.load().ok();
}

#[test]
fn rows_that_cannot_be_are_refused() {
    let dump = Dump::new();
    let rows = |tensor: &str, change: fn(&mut [u8])| dump.with_tensor("rows.safetensors", tensor, change);
    rows("latents", |b| b[700] = 0x80).fails(3, &["outside its range", "row 1, component 188", "-127 to 127", "found -128"]);
    rows("labels", |b| b[4] = 200).fails(3, &["labels is impossible", "row 1", "found 200"]);
    rows("batch", |b| b[7] = 1).fails(3, &["batch is impossible", "row 1"]);
    rows("flags", |b| b[2] = 4).fails(3, &["flags is impossible", "row 2", "found 4"]);
    rows("id", |b| b[0] = 0).fails(3, &["id is impossible", "row 0", "found 0"]);
    rows("id", |b| b[7] = 1).fails(3, &["id is impossible", "below next_row"]);
    rows("id", |b| b[8] = 1).fails(3, &["id is impossible", "row 1", "each once"]);
    // Rows that were never learned would be taken back one day.
    rows("latents", |b| b[700] = b[700].wrapping_add(1) & 0x7f).fails(3, &["not among those that the statistics count"]);
    rows("labels", |b| b.fill(0)).fails(3, &["not among those that the statistics count"]);
    dump.with_json(|json| json["next_row"] = json!(3)).fails(3, &["id is impossible", "found 3"]);
    dump.with_json(|json| json["dim"] = json!(256)).fails(3, &["another type or shape"]);
    dump.with_json(|json| json["labels"][0]["is"] = json!(["\u{1}00112233445566778899aabbccddeeff"])).fails(3, &["retired class"]);
    dump.with_json(|json| json["labels"][0]["not"] = json["labels"][0]["is"].clone()).fails(3, &["both be a class and not be it"]);
    dump.with_json(|json| json["batches"][0]["origin"] = json!(7)).fails(3, &["a batch names no origin"]);
    dump.with_json(|json| json["bits"] = json!(4)).fails(3, &["outside its range", "-7 to 7"]);
    dump.load().ok();
}

#[test]
fn statistics_and_bounds_that_cannot_be_are_refused() {
    let dump = Dump::new();
    let sums = |tensor: &str, change: fn(&mut [u8])| dump.with_tensor("statistics.safetensors", tensor, change);
    sums("block.0.gram", |b| b[7] = 0x7f).fails(3, &["block.0", "larger than its rows can make it"]);
    sums("block.0.gram", |b| b[0..8].fill(0xff)).fails(3, &["block.0", "sum of squares is negative"]);
    sums("block.0.class_rows", |b| b[0] ^= 1).fails(3, &["block.0", "do not add up"]);
    sums("block.0.class_rows", |b| b[..8].fill(0)).fails(3, &["block.0"]);
    sums("block.0.gram", |b| b[8] ^= 1).fails(5, &["not those that the dump was made of"]);
    dump.with_json(|json| json["blocks"][0]["rows"] = json!(1)).fails(3, &["block.0"]);
    dump.with_json(|json| json["blocks"][0]["kind"] = json!("mixed")).fails(3, &["block.0.negative_sums", "missing"]);
    dump.with_json(|json| json["blocks"] = json!([])).fails(3, &["other tensors"]);
    dump.with_json(|json| json["blocks"][0]["origin"] = json!(9)).fails(3, &["a block names no origin"]);
    dump.with_json(|json| json["blocks"][0]["classes"][0] = json!("a\u{7}b")).fails(3, &["not canonical"]);
    dump.with_json(|json| {
        (json["classes"][0], json["blocks"][0]["classes"][0]) = (json!("Bassoon"), json!("Bassoon"));
    })
    .fails(5, &["not those that the dump was made of"]);
    dump.with_json(|json| json["classes"][0] = json!("Bassoon")).fails(3, &["not those of the blocks"]);
    dump.with_json(|json| json["bounds"]["max_classes"] = json!(2)).fails(3, &["max_classes"]);
    dump.with_json(|json| json["bounds"]["replay_rows"] = json!(1)).fails(3, &["replay_rows"]);
    dump.with_json(|json| json["bounds"]["max_sources"] = json!(3)).fails(3, &["sources is impossible"]);
    dump.with_json(|json| json["sources"][0] = json["sources"][1].clone()).fails(3, &["sources is impossible"]);
    dump.with_json(|json| json["scale"][3] = json!(0)).fails(3, &["scale"]);
    dump.with_json(|json| drop(json["scale"].as_array_mut().unwrap().pop())).fails(3, &["scale"]);
    dump.with_json(|json| json["backbone"] = json!("x".repeat(5000))).fails(3, &["backbone is impossible"]);
    dump.with_json(|json| json["generation"] = json!(u64::MAX)).fails(3, &["generation is impossible"]);
    dump.with_json(|json| json["origins"][0]["own"] = json!(false)).fails(3, &["origins is impossible", "0 own"]);
    dump.with_json(|json| json["origins"][0]["device"] = json!("+1")).fails(3, &["32 hexadecimal digits"]);
    dump.with_json(|json| json["seed"] = json!("+123456789abcdef")).fails(3, &["16 hexadecimal digits"]);
    dump.load().ok();
}

#[test]
fn places_that_are_taken_stay_as_they_are() {
    let (dump, copy) = (Dump::new(), Copy::of_taught());
    run!("dump", taught().adapter(), "--out", dump.path()).fails(3, &["dump", "choose another folder"]);
    run!("dump", taught().sounds(), "--out", dump.folder.path().join("new")).fails(4, &["sounds"]);
    assert!(!dump.folder.path().join("new").exists());
    let before = copy.files();
    run!("load", dump.path(), "--adapter", copy.adapter()).fails(3, &["adapter", "choose another folder"]);
    assert!(copy.files() == before);
    dump.load().ok();
}
