//! `wheatear lab run` from its two kinds of input, and everything that can be wrong with an npz file.

use std::path::Path;

use npyz::npz::NpzWriter;
use npyz::{DType, WriterBuilder};
use serde_json::Value;

use crate::command::{Ran, run, wheatear};
use crate::material::{INSTRUMENTS, aisfx, put_instruments};

const CLASSES: usize = 4;
const EACH: usize = 12;
const DIM: usize = 8;
const ROWS: usize = CLASSES * EACH;

/// Writes one array into `zip`.
fn put<T: npyz::Serialize + Clone>(
    zip: &mut NpzWriter<std::io::BufWriter<std::fs::File>>,
    name: &str,
    kind: &str,
    shape: &[usize],
    values: &[T],
) {
    let shape: Vec<u64> = shape.iter().map(|n| *n as u64).collect();
    let options = zip.array::<T>(name, Default::default()).unwrap().dtype(DType::Plain(kind.parse().unwrap())).shape(&shape);
    let mut array = options.begin_nd().unwrap();
    array.extend(values.iter().cloned()).unwrap();
    array.finish().unwrap();
}

/// Rows of four classes, each near its own corner.
fn x() -> Vec<f32> {
    let noise = |i: usize| ((i * 7919 + 13) % 101) as f32 / 101.0 - 0.5;
    (0..ROWS * DIM).map(|i| noise(i) + if i % DIM == i / DIM / EACH { 3.0 } else { 0.2 }).collect()
}

fn y() -> Vec<i64> {
    (0..ROWS).map(|i| (i / EACH) as i64).collect()
}

/// An npz file with everything in it but the array `without`.
fn write_npz(path: &Path, x: &[f32], y: &[i64], names: &[&str], without: &str) {
    let mut zip = NpzWriter::new(std::io::BufWriter::new(std::fs::File::create(path).unwrap()));
    if without != "X" {
        put(&mut zip, "X", "<f4", &[x.len() / DIM, DIM], x);
    }
    if without != "y" {
        put(&mut zip, "y", "<i8", &[y.len()], y);
    }
    if without != "names" {
        put(&mut zip, "names", "<U16", &[names.len()], &names.iter().map(|n| n.to_string()).collect::<Vec<_>>());
    }
    if without != "group" {
        put(&mut zip, "group", "<i8", &[y.len()], &(0..y.len() as i64).collect::<Vec<_>>());
    }
}

const NAMES: [&str; CLASSES] = ["wren", "AC/DC hum", "みそさざい", "carrion crow"];

fn lab(folder: &Path, args: &[&str]) -> Ran {
    Ran::of(wheatear().args(["lab", "run", "--embeddings", "e.npz", "--folds", "3", "--seeds", "1"]).args(args).current_dir(folder))
}

#[test]
fn embeddings_need_no_backbone_and_every_key_is_there() {
    let folder = tempfile::tempdir().unwrap();
    write_npz(&folder.path().join("e.npz"), &x(), &y(), &NAMES, "");
    let results = lab(folder.path(), &["--head", "slda,ncm", "--json"]).ok().json();
    assert_eq!(results.as_array().unwrap().iter().map(|r| r["head"].as_str().unwrap()).collect::<Vec<_>>(), ["slda", "ncm"]);
    for result in results.as_array().unwrap() {
        assert_eq!((result["data"].as_str(), result["rows"].as_u64()), (Some("e"), Some(ROWS as u64)));
        assert_eq!((result["dim"].as_u64(), result["classes"].as_u64()), (Some(DIM as u64), Some(CLASSES as u64)));
        assert!(result["accuracy"]["mean"].as_f64().unwrap() > 0.95 && result["accuracy"]["std"].as_f64().unwrap() >= 0.0);
        for key in ["offline_accuracy", "forgetting", "backward_transfer", "learn_rows_per_s"] {
            assert!(result[key].as_f64().is_some_and(f64::is_finite), "{key}: {result}");
        }
        assert_eq!(result["forgetting"].as_f64(), Some(0.0));
    }
    let chosen = lab(folder.path(), &["--head", "slda-loo,ridge-loo", "--json"]).ok().json();
    for result in chosen.as_array().unwrap() {
        assert!(result["accuracy"]["mean"].as_f64().unwrap() > 0.95 && result["ece"].as_f64().unwrap() < 0.3, "{result}");
    }
    lab(folder.path(), &["--head", "slda-loo", "--latent-bits", "16"]).fails(6, &["--latent-bits 4 to 8", "slda-loo"]);
    // What says how a backbone runs is allowed, if useless; without a source of rows there is nothing to do.
    lab(folder.path(), &["--head", "ncm", "--threads", "2"]).ok();
    let twice = lab(folder.path(), &["--head", "ncm,slda,ncm", "--json"]).ok().json();
    assert_eq!(twice.as_array().unwrap().len(), 2, "a head that is named twice is measured once");
    run!("lab", "run").fails(6, &["--embeddings", "--audio"]);
}

#[test]
fn the_pooled_head_shows_its_members_and_the_order_of_classes_and_chunks_does_not_change_it() {
    let folder = tempfile::tempdir().unwrap();
    write_npz(&folder.path().join("e.npz"), &x(), &y(), &NAMES, "");
    let results = lab(folder.path(), &["--head", "auto,auto-unguarded", "--json"]).ok().json();
    for result in results.as_array().unwrap() {
        assert!(result["accuracy"]["mean"].as_f64().unwrap() > 0.95 && result["ece"].as_f64().unwrap() < 0.3, "{result}");
        assert_eq!(result["forgetting"].as_f64(), Some(0.0));
        for run in result["runs"].as_array().unwrap() {
            let members = run["members"].as_array().unwrap();
            assert_eq!(members.iter().map(|m| m["name"].as_str().unwrap()).collect::<Vec<_>>(), ["slda", "ridge"]);
            assert!((members.iter().map(|m| m["weight"].as_f64().unwrap()).sum::<f64>() - 1.0).abs() < 1e-9);
        }
    }
    assert!(results[0]["guard"].is_object() && results[1]["guard"].is_null(), "{results}");
    // The same splits in chunks of one row.
    let args = |rows: &'static str| ["--head", "auto", "--splits", "s.json", "--chunk-rows", rows, "--json"];
    let accuracy = |rows| lab(folder.path(), &args(rows)).ok().json()[0]["accuracy"].clone();
    assert_eq!(accuracy("16"), accuracy("1"));
    lab(folder.path(), &["--head", "auto", "--latent-bits", "f32"]).fails(6, &["--latent-bits 4 to 8", "auto"]);
}

#[test]
fn wrong_labels_are_taught_and_tested_against_the_truth() {
    let folder = tempfile::tempdir().unwrap();
    write_npz(&folder.path().join("e.npz"), &x(), &y(), &NAMES, "");
    let with = |noise: &str| lab(folder.path(), &["--head", "slda,auto", "--label-noise", noise, "--json"]).ok().json();
    let (clean, wrong) = (with("0"), with("0.4"));
    assert_eq!((clean[1]["guard"]["wrong"].as_u64(), wrong[0]["settings"]["label_noise"].as_f64()), (Some(0), Some(0.4)));
    // Logistic regression fits what it is told; rows that lie so far apart cost slda nothing.
    let offline = |r: &Value| r[0]["offline_accuracy"].as_f64().unwrap();
    assert!(offline(&wrong) < offline(&clean) && wrong[0]["accuracy"]["mean"].as_f64().unwrap() > 0.9, "{wrong}");
    // Of about 96 training rows in three runs.
    let rows = wrong[1]["guard"]["wrong"].as_u64().unwrap();
    assert!((20..=60).contains(&rows), "{rows}");
    lab(folder.path(), &["--label-noise", "1"]).fails(2, &["--label-noise", "0 to 0.9"]);
}

#[test]
fn classes_that_were_never_taught_are_told_from_those_that_were() {
    let folder = tempfile::tempdir().unwrap();
    write_npz(&folder.path().join("e.npz"), &x(), &y(), &NAMES, "");
    let unknown = |args: &[&str]| {
        Ran::of(
            wheatear().args(["lab", "unknown", "--embeddings", "e.npz", "--folds", "3", "--seeds", "2"]).args(args).current_dir(&folder),
        )
    };
    let result = unknown(&["--json"]).ok().json();
    assert!(result["auroc"].as_f64().unwrap() > 0.9, "{result}");
    for key in ["auroc_max_softmax", "auroc_energy", "auroc_energy_auto", "auroc_std", "false_known_at_95_known", "ece"] {
        assert!(result[key].as_f64().is_some_and(|v| (0.0..=1.0).contains(&v)), "{key}: {result}");
    }
    assert_eq!((result["runs"].as_array().unwrap().len(), result["differences"].as_array().unwrap().len()), (6, 3));
    assert!(unknown(&[]).ok().out.contains("AUROC"));
    write_npz(&folder.path().join("e.npz"), &x()[..3 * EACH * DIM], &y()[..3 * EACH], &NAMES[..3], "");
    unknown(&[]).fails(3, &["too few classes", "at least 4", "found 3"]);
}

#[test]
fn what_weighing_old_rows_less_is_worth_is_told_for_each_policy_and_stream() {
    let folder = tempfile::tempdir().unwrap();
    write_npz(&folder.path().join("e.npz"), &x(), &y(), &NAMES, "");
    let drift = |args: &[&str]| {
        Ran::of(
            wheatear().args(["lab", "drift", "--embeddings", "e.npz", "--runs", "2", "--block-rows", "8"]).args(args).current_dir(&folder),
        )
    };
    let result = drift(&["--json"]).ok().json();
    let text = result.to_string();
    for word in ["slda", "by age, 0.5", "on a change, 0.1", "stationary", "channel", "rotation"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let table = drift(&[]).ok().out;
    assert_eq!(table.lines().filter(|l| l.starts_with("Rotation")).count(), 6, "{table}");
    drift(&["--delta", "2"]).fails(6, &["delta"]);
}

#[test]
fn written_splits_give_the_same_results_when_read() {
    let folder = tempfile::tempdir().unwrap();
    write_npz(&folder.path().join("e.npz"), &x(), &y(), &NAMES, "");
    let args = ["--head", "naive,ncm,slda,ridge", "--naive-lr", "0.03", "--splits", "s.json", "--json"];
    let untimed = |ran: Ran| {
        let mut results = ran.ok().json();
        for result in results.as_array_mut().unwrap() {
            result["learn_rows_per_s"] = Value::Null;
            result["runs"].as_array_mut().unwrap().iter_mut().for_each(|r| {
                let run = r.as_object_mut().unwrap();
                run.retain(|key, _| !key.ends_with("_s"));
            });
        }
        results
    };
    let first = untimed(lab(folder.path(), &args));
    let written = std::fs::read(folder.path().join("s.json")).unwrap();
    assert_eq!(untimed(lab(folder.path(), &args)), first);
    assert_eq!(std::fs::read(folder.path().join("s.json")).unwrap(), written);
    let splits: Value = serde_json::from_slice(&written).unwrap();
    for split in splits.as_array().unwrap() {
        let rows = |key: &str| split[key].as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).collect::<Vec<_>>();
        let mut all = [rows("train"), rows("test")].concat();
        all.sort_unstable();
        assert_eq!(all, (0..ROWS as u64).collect::<Vec<_>>());
        assert!(split["seed"].is_u64() && split["fold"].is_u64());
    }
    std::fs::write(folder.path().join("s.json"), r#"[{"seed":0,"fold":0,"train":[0,1],"test":[999]}]"#).unwrap();
    lab(folder.path(), &args).fails(3, &["s.json", "999", "0 to 47"]);
}

#[test]
fn the_report_is_one_page_that_loads_nothing() {
    let folder = tempfile::tempdir().unwrap();
    write_npz(&folder.path().join("e.npz"), &x(), &y(), &NAMES, "");
    let table = lab(folder.path(), &["--head", "slda", "--report", "r.html"]).ok().out;
    assert!(table.contains("slda") && table.contains("offline"), "{table}");
    let page = std::fs::read_to_string(folder.path().join("r.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("<svg") && page.contains("みそさざい") && page.contains("AC/DC hum"));
    let rest = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "").replace("xmlns:xlink=\"http://www.w3.org/1999/xlink\"", "");
    for word in ["http://", "https://", "<script", "<link", "@import", "url(", " src="] {
        assert!(!rest.contains(word), "the page refers to {word}");
    }
    lab(folder.path(), &["--head", "ncm", "--report", "no/such/folder/r.html"]).fails(4, &["no/such/folder/r.html", "check the path"]);
}

#[test]
fn sounds_are_evaluated_with_a_backbone_named_or_in_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    put_instruments(folder.path(), &INSTRUMENTS, 0, 4);
    let lab = || {
        let mut command = wheatear();
        command.args(["lab", "run", "--folds", "2", "--seeds", "1", "--head", "slda", "--json", "--audio"]).arg(folder.path());
        command
    };
    let named = Ran::of(lab().arg("--backbone").arg(aisfx())).ok().json();
    assert_eq!((named[0]["dim"].as_u64(), named[0]["classes"].as_u64()), (Some(512), Some(3)));
    assert!(named[0]["accuracy"]["mean"].as_f64().unwrap() > 0.7);
    assert_eq!(named[0]["settings"]["scale_source"], "the backbone's manifest");
    let training = Ran::of(lab().arg("--backbone").arg(aisfx()).args(["--scales", "training"])).ok().json();
    assert_eq!(training[0]["settings"]["scale_source"], "each run's training rows");
    let environment = Ran::of(lab().env("WHEATEAR_BACKBONE", aisfx())).ok().json();
    assert_eq!(environment[0]["accuracy"], named[0]["accuracy"]);
    let settings = tempfile::tempdir().unwrap();
    let config = settings.path().join("wheatear.toml");
    std::fs::write(&config, format!("[backbone]\nfolder = {:?}\n", aisfx())).unwrap();
    let configured = Ran::of(lab().arg("--config").arg(&config)).ok().json();
    assert_eq!(configured[0]["accuracy"], named[0]["accuracy"]);
    std::fs::write(&config, "[backbon]\n").unwrap();
    Ran::of(lab().env("WHEATEAR_CONFIG", &config)).fails(6, &["wheatear.toml", "line 1", "backbon", "correct the key"]);
    Ran::of(&mut lab()).fails(6, &["no backbone is named", "give --backbone FOLDER", "--config"]);
    std::fs::write(folder.path().join("Violin/diary.wav"), b"not a sound").unwrap();
    Ran::of(lab().arg("--backbone").arg(aisfx())).fails(3, &["diary.wav"]);
}

#[test]
fn an_npz_file_that_cannot_be_used_says_which_array_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let npz = folder.path().join("e.npz");
    for without in ["X", "y", "names", "group"] {
        write_npz(&npz, &x(), &y(), &NAMES, without);
        lab(folder.path(), &[]).fails(3, &["e.npz", without]);
    }
    let mut nan = x();
    nan[2 * DIM + 5] = f32::NAN;
    write_npz(&npz, &nan, &y(), &NAMES, "");
    lab(folder.path(), &[]).fails(3, &["X[2, 5]", "not a number"]);
    write_npz(&npz, &x(), &y()[1..], &NAMES, "");
    lab(folder.path(), &[]).fails(3, &["y", "[48]", "[47]"]);
    write_npz(&npz, &x(), &y(), &NAMES[..3], "");
    lab(folder.path(), &[]).fails(3, &["y[36]", "0 to 2", "found 3"]);
    write_npz(&npz, &x(), &vec![0; ROWS], &NAMES, "");
    lab(folder.path(), &[]).fails(3, &["only one class"]);
    let mut lonely = vec![0; ROWS];
    lonely[7] = 1;
    write_npz(&npz, &x(), &lonely, &NAMES, "");
    lab(folder.path(), &[]).fails(3, &["too few rows", "AC/DC hum", "add recordings"]);

    let write = |kind: &str, shape: &[usize], values: &[f64]| {
        let mut zip = NpzWriter::new(std::io::BufWriter::new(std::fs::File::create(&npz).unwrap()));
        match kind {
            "<f8" => put(&mut zip, "X", kind, shape, values),
            _ => put(&mut zip, "X", kind, shape, &values.iter().map(|v| *v as f32).collect::<Vec<_>>()),
        }
        put(&mut zip, "y", "<f8", &[2], &[0.0, 1.0]);
    };
    write("<f4", &[8], &[1.0; 8]);
    lab(folder.path(), &[]).fails(3, &["X", "[n, D]", "[8]"]);
    write("<f4", &[2, 4], &[1.0; 8]);
    lab(folder.path(), &[]).fails(3, &["y", "integer"]);

    std::fs::write(&npz, b"file,class\na.wav,wren\n").unwrap();
    lab(folder.path(), &[]).fails(3, &["not an npz file", "e.npz", "numpy.savez"]);
    let whole = {
        write_npz(&npz, &x(), &y(), &NAMES, "");
        std::fs::read(&npz).unwrap()
    };
    // A bit inside X, and one of the checksum that the zip's directory holds of it.
    let directory = whole.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    for (place, words) in [(400, &["e.npz: X"][..]), (directory + 16, &["e.npz: X", "checksum", "copy the file again"])] {
        let mut flipped = whole.clone();
        flipped[place] ^= 0x10;
        std::fs::write(&npz, &flipped).unwrap();
        lab(folder.path(), &[]).fails(3, words);
    }
    std::fs::write(&npz, &whole[..whole.len() / 2]).unwrap();
    lab(folder.path(), &[]).fails(3, &["e.npz"]);
    std::fs::remove_file(&npz).unwrap();
    lab(folder.path(), &[]).fails(4, &["e.npz", "check the path"]);
}
