//! `wheatear lab run` and `lab bits` as programs, on the committed real latents.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use npyz::npz::NpzWriter;
use npyz::{DType, WriterBuilder};
use serde_json::Value;

/// The 133 real clips as an npz file.
fn write_npz(path: &Path) {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests");
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(tests.join("golden/heads.json")).unwrap()).unwrap();
    let latents = std::fs::read(tests.join("data/sonicpi.i8")).unwrap();
    let scale: Vec<f64> = golden["scale"].as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).collect();
    let mut zip = NpzWriter::create(path).unwrap();
    let kind = |text: &str| DType::Plain(text.parse().unwrap());
    let mut x = zip.array::<f32>("X", Default::default()).unwrap().dtype(kind("<f4")).shape(&[133, 512]).begin_nd().unwrap();
    x.extend(latents.iter().enumerate().map(|(i, q)| (f64::from(*q as i8) * scale[i % 512]) as f32)).unwrap();
    x.finish().unwrap();
    let mut y = zip.array::<i64>("y", Default::default()).unwrap().dtype(kind("<i8")).shape(&[133]).begin_nd().unwrap();
    y.extend(golden["y"].as_array().unwrap().iter().map(|v| v.as_i64().unwrap())).unwrap();
    y.finish().unwrap();
    let mut names = zip.array::<String>("names", Default::default()).unwrap().dtype(kind("<U16")).shape(&[8]).begin_nd().unwrap();
    names.extend(golden["names"].as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned())).unwrap();
    names.finish().unwrap();
    let mut group = zip.array::<i64>("group", Default::default()).unwrap().dtype(kind("<i8")).shape(&[133]).begin_nd().unwrap();
    group.extend(0..133i64).unwrap();
    group.finish().unwrap();
}

fn lab(folder: &Path, args: &[&str]) -> Output {
    lab_command("run", folder, args)
}

fn lab_command(command: &str, folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wheatear"))
        .args(["lab", command, "--embeddings", "clips.npz"])
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap()
}

#[test]
fn solved_heads_forget_nothing_naive_sgd_does_and_the_files_are_written() {
    let folder = tempfile::tempdir().unwrap();
    write_npz(&folder.path().join("clips.npz"));
    let files = ["--splits", "s.json", "--report", "r.html", "--figure", "f.svg", "--json"];
    let settings = ["--folds", "3", "--seeds", "1", "--naive-lr", "0.05"];
    let first = lab(folder.path(), &[&files[..], &settings[..]].concat());
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    let results: Value = serde_json::from_slice(&first.stdout).unwrap();
    let of = |head: &str, key: &str| results.as_array().unwrap().iter().find(|r| r["head"] == head).unwrap()[key].clone();
    for head in ["ncm", "slda", "ridge"] {
        assert_eq!(of(head, "forgetting"), 0.0, "{head}");
        assert!(of(head, "accuracy")["mean"].as_f64().unwrap() > 0.6, "{head}");
    }
    assert!(of("naive", "forgetting").as_f64().unwrap() > 0.2);
    assert!(of("slda", "offline_accuracy").as_f64().unwrap() > 0.65);
    assert_eq!((of("slda", "rows"), of("slda", "dim"), of("slda", "classes")), (133.into(), 512.into(), 8.into()));
    for key in ["data", "backward_transfer", "learn_rows_per_s", "differences"] {
        assert!(!of("slda", key).is_null(), "{key}");
    }

    let page = std::fs::read_to_string(folder.path().join("r.html")).unwrap();
    assert!(page.matches("<svg").count() == 9 && page.ends_with("</html>\n"));
    let outside = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!outside.contains("http") && !outside.contains("<script"), "the page loads nothing");
    assert!(std::fs::read_to_string(folder.path().join("f.svg")).unwrap().contains("offline"));

    // The recorded splits give the same accuracies again.
    let again = lab(folder.path(), &["--splits", "s.json", "--head", "slda", "--json"]);
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(again[0]["accuracy"], of("slda", "accuracy"));
}

#[test]
fn the_softmax_head_gains_by_replay_repeats_itself_and_says_how_it_was_run() {
    let folder = tempfile::tempdir().unwrap();
    write_npz(&folder.path().join("clips.npz"));
    let run = |args: &[&str]| -> Value {
        let common = ["--head", "softmax", "--folds", "2", "--seeds", "1", "--splits", "s.json", "--json"];
        let out = lab(folder.path(), &[&common[..], args].concat());
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_slice::<Value>(&out.stdout).unwrap()[0].clone()
    };
    let accuracy = |v: &Value| v["accuracy"]["mean"].as_f64().unwrap();
    let ten = run(&[]);
    assert_eq!(ten["settings"]["replay"], serde_json::json!({ "per_class": 10, "bits": 8, "held_out_every": 8 }));
    assert_eq!(ten["settings"]["softmax"]["steps"], 32);
    let again = run(&["--replay-per-class", "10", "--replay-bits", "8", "--held-out-every", "8"]);
    assert_eq!((&again["accuracy"], &again["ece"]), (&ten["accuracy"], &ten["ece"]));
    let one = run(&["--replay-per-class", "1", "--replay-bits", "4", "--held-out-every", "0"]);
    assert!(accuracy(&ten) > accuracy(&one) + 0.05, "{} {}", accuracy(&ten), accuracy(&one));
    for wrong in [["--replay-bits", "3"], ["--replay-bits", "9"], ["--replay-per-class", "0"]] {
        assert_eq!(lab(folder.path(), &wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn sixteen_bits_and_eight_agree_and_unknown_settings_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_npz(&folder.path().join("clips.npz"));
    let accuracy = |bits: &str| {
        let out = lab(folder.path(), &["--head", "slda", "--folds", "2", "--seeds", "1", "--latent-bits", bits, "--json"]);
        let json: Value = serde_json::from_slice(&out.stdout).unwrap();
        json[0]["accuracy"]["mean"].as_f64().unwrap()
    };
    assert!((accuracy("16") - accuracy("8")).abs() < 0.03);
    for wrong in [["--latent-bits", "12"], ["--head", "oracle"], ["--folds", "1"], ["--naive-lr", "-1"]] {
        assert_eq!(lab(folder.path(), &wrong).status.code(), Some(2), "{wrong:?}");
    }
    std::fs::write(folder.path().join("clips.npz"), b"PK").unwrap();
    let bad = lab(folder.path(), &[]);
    assert_eq!(bad.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&bad.stderr).contains("not an npz file"));
}

#[test]
fn auto_is_run_with_and_without_random_features_on_the_same_runs() {
    let folder = tempfile::tempdir().unwrap();
    write_npz(&folder.path().join("clips.npz"));
    let settings = ["--folds", "3", "--seeds", "1", "--no-offline", "--json", "--classes-per-task", "4"];
    let run = |head: &str, features: &str| {
        let out = lab(folder.path(), &[&settings[..], &["--head", head, "--random-features", features]].concat());
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_slice::<Value>(&out.stdout).unwrap().as_array().unwrap().clone()
    };
    let results = run("rf,auto-unguarded", "64");
    assert_eq!(results.iter().map(|r| r["head"].as_str().unwrap()).collect::<Vec<_>>(), ["rf", "auto-unguarded", "auto-unguarded-rf"]);
    let members = |r: &Value| r["runs"][0]["members"].as_array().unwrap().iter().map(|m| m["name"].clone()).collect::<Vec<_>>();
    assert_eq!(
        (members(&results[1]), members(&results[2])),
        (vec!["slda".into(), "ridge".into()], vec!["slda".into(), "ridge".into(), "rf".into()])
    );
    // Eight classes by 64 features: twice chance at the least.
    for result in &results {
        assert_eq!(result["forgetting"], 0.0);
        assert!(result["accuracy"]["mean"].as_f64().unwrap() > 0.25, "{}", result["accuracy"]);
    }
    let differences = results[2]["differences"].as_array().unwrap();
    assert!(differences.iter().any(|d| d["minus"] == "auto-unguarded"));
    let without = run("auto-unguarded", "0");
    assert_eq!((without.len(), &without[0]["runs"][0]["accuracy"]), (1, &results[1]["runs"][0]["accuracy"]));
}

#[test]
fn offline_training_is_left_out_when_told_so_and_nothing_is_compared_with_it() {
    let folder = tempfile::tempdir().unwrap();
    write_npz(&folder.path().join("clips.npz"));
    let settings = ["--head", "ncm,slda", "--folds", "2", "--seeds", "1", "--no-offline"];
    let out = lab(folder.path(), &[&settings[..], &["--json"]].concat());
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let json: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert!(json[0]["offline_accuracy"].is_null() && json[0]["accuracy"]["mean"].as_f64().unwrap() > 0.5);
    let with: Vec<&str> = json[0]["differences"].as_array().unwrap().iter().map(|d| d["minus"].as_str().unwrap()).collect();
    assert_eq!(with, ["slda"]);
    let run = &json[1]["runs"][0];
    assert!(run["head_cpu_s"].as_f64().unwrap() > 0.0 && run["head_cpu_s"].as_f64() <= run["learn_cpu_s"].as_f64(), "{run}");
    let table = String::from_utf8(lab(folder.path(), &settings).stdout).unwrap();
    assert!(table.ends_with("offline joint training: left out\n"), "{table}");
    // The page's first comparison is with offline training.
    assert_eq!(lab(folder.path(), &[&settings[..], &["--report", "r.html"]].concat()).status.code(), Some(2));
}

#[test]
fn each_width_is_paired_with_unquantised_embeddings_on_the_splits_of_a_whole_evaluation() {
    let folder = tempfile::tempdir().unwrap();
    write_npz(&folder.path().join("clips.npz"));
    let json = |command: &str, args: &[&str]| -> Value {
        let out = lab_command(command, folder.path(), &[args, &["--splits", "s.json", "--json"]].concat());
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_slice(&out.stdout).unwrap()
    };
    let bits = json("bits", &["--head", "ncm,slda,ncm", "--folds", "2", "--seeds", "1", "--latent-bits", "8,4,8,f32"]);
    let of = |head: &str, width: Value| bits.as_array().unwrap().iter().find(|r| r["head"] == head && r["latent_bits"] == width).unwrap();
    assert_eq!(bits.as_array().unwrap().len(), 6, "heads and widths that are named twice are measured once, f32 always");
    for width in ["f32", "8", "4"] {
        let whole = json("run", &["--head", "ncm,slda", "--latent-bits", width]);
        let key: Value = width.parse::<u8>().map_or_else(|_| width.into(), Value::from);
        for result in whole.as_array().unwrap() {
            let found = of(result["head"].as_str().unwrap(), key.clone());
            assert_eq!(found["accuracy"], result["accuracy"], "{width}");
            assert_eq!(result["settings"]["latent_bits"], key);
        }
    }
    for head in ["ncm", "slda"] {
        let mean = |r: &Value| r["accuracy"]["mean"].as_f64().unwrap();
        let (base, eight, four) = (of(head, "f32".into()), of(head, 8.into()), of(head, 4.into()));
        let difference = &eight["minus_f32_points"];
        assert!((difference["mean"].as_f64().unwrap() - 100.0 * (mean(eight) - mean(base))).abs() < 1e-9);
        assert!(difference["low"].as_f64() <= difference["mean"].as_f64() && difference["mean"].as_f64() <= difference["high"].as_f64());
        assert_eq!((eight["target_points"].as_f64(), eight["verdict"].is_string()), (Some(-0.3), true));
        assert!(base["minus_f32_points"].is_null() && four["verdict"].is_null() && four["minus_f32_points"].is_object());
        assert!(four["lost_rows"].is_u64() && four["won_rows"].is_u64() && four["tested_rows"] == 133);
        assert_eq!(eight["settings"]["scale_source"], "each run's training rows");
    }
    let table = lab_command("bits", folder.path(), &["--head", "ncm", "--splits", "s.json"]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert_eq!(table.lines().filter(|l| l.starts_with("ncm ")).count(), 6, "{table}");
    for (wrong, code) in [(["--latent-bits", "3"], 2), (["--head", "naive"], 2), (["--scales", "manifest"], 6)] {
        assert_eq!(lab_command("bits", folder.path(), &wrong).status.code(), Some(code), "{wrong:?}");
    }
}
