//! Libraries, backbones and adapters that are missing, damaged or do not belong together.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::command::{Ran, run, wheatear};
use crate::material::{aisfx, digest, inspect, notes, onnxruntime, speech, taught, write_backbone, write_samples, write_tiny_backbone};

fn classify_with(backbone: &Path) -> Ran {
    run!("classify", notes("Violin")[0], "--backbone", backbone, "--adapter", taught().adapter())
}

/// A copy of the real backbone with one file changed by `change`.
fn changed(folder: &Path, file: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> PathBuf {
    let copy = folder.join("backbone");
    std::fs::create_dir_all(&copy).unwrap();
    for name in ["manifest.toml", "aisfx-mel-f32.onnx"] {
        std::fs::copy(aisfx().join(name), copy.join(name)).unwrap();
    }
    let bytes = std::fs::read(copy.join(file)).unwrap();
    std::fs::write(copy.join(file), change(bytes)).unwrap();
    copy
}

#[test]
fn without_onnx_runtime_the_message_says_where_it_looked_and_how_to_install_it() {
    let (note, adapter) = (&notes("Violin")[0], taught().adapter());
    let classify = |library: Option<&OsStr>, variable: &OsStr| {
        let mut command = wheatear();
        command.arg("classify").arg(note).arg("--backbone").arg(aisfx()).arg("--adapter").arg(&adapter);
        command.args(library.iter().flat_map(|l| [OsStr::new("--onnxruntime"), l]));
        Ran::of(command.env("ORT_DYLIB_PATH", variable))
    };
    let cure = ["ONNX Runtime was not found", "cargo xtask setup", "ORT_DYLIB_PATH"];
    classify(None, "/nowhere/libonnxruntime.so".as_ref()).fails(4, &[&cure[..], &["/nowhere/libonnxruntime.so: not there"]].concat());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.txt");
    std::fs::write(&file, "not a library").unwrap();
    classify(Some(file.as_os_str()), "".as_ref()).fails(4, &[&cure[..], &["notes.txt"]].concat());
    classify(Some(folder.path().as_os_str()), "".as_ref()).fails(4, &cure);
    // What is asked for on the command line goes before the environment.
    classify(Some(onnxruntime().as_os_str()), "/nowhere".as_ref()).ok();
}

#[test]
fn a_backbone_that_is_not_onnx_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let backbone = folder.path().join("backbone");
    write_samples(&folder.path().join("sounds/a/a.wav"), 8000, &[0.5; 8]);
    let teach = || run!("teach", folder.path().join("sounds"), "--backbone", backbone, "--adapter", folder.path().join("adapter"));
    for bytes in [&b"<html>404</html>"[..], b"", b"\x08\x08"] {
        write_backbone(&backbone, bytes);
        teach().fails(3, &["tiny.onnx", "give an ONNX file"]);
        assert!(!folder.path().join("adapter").exists(), "an adapter would be bound to this useless backbone");
    }
    std::fs::remove_file(backbone.join("tiny.onnx")).unwrap();
    teach().fails(4, &["tiny.onnx"]);
    std::fs::remove_file(backbone.join("manifest.toml")).unwrap();
    teach().fails(4, &["manifest.toml"]);
}

#[test]
fn a_model_file_with_another_digest_is_refused_with_both_digests() {
    let folder = tempfile::tempdir().unwrap();
    let copy = changed(folder.path(), "aisfx-mel-f32.onnx", |mut bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    });
    classify_with(&copy).fails(5, &["aisfx-mel-f32.onnx", "expected sha256 9d32b831", "found sha256 "]);
}

#[test]
fn an_adapter_of_another_backbone_is_refused_by_teach_and_classify() {
    let folder = tempfile::tempdir().unwrap();
    let both = ["another backbone", "expected aisfx with space", "teach a new adapter"];
    classify_with(&speech()).fails(5, &both);
    // The same model with another front end is another space, too.
    let copy = changed(folder.path(), "manifest.toml", |bytes| {
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains("\nfloor = 0.001\n"));
        text.replace("\nfloor = 0.001\n", "\nfloor = 0.01\n").into_bytes()
    });
    classify_with(&copy).fails(5, &both);
    let before = digest(&taught().adapter());
    run!("teach", taught().sounds(), "--backbone", copy, "--adapter", taught().adapter()).fails(5, &both);
    assert_eq!(digest(&taught().adapter()), before);
    run!("teach", taught().sounds(), "--backbone", aisfx(), "--adapter", taught().adapter(), "--latent-bits", "4")
        .fails(5, &["expected 8 bits", "leave out --latent-bits"]);
}

#[test]
fn a_manifest_that_is_wrong_names_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let replaced = |from: &str, to: &str| {
        let (from, to) = (from.to_owned(), to.to_owned());
        changed(folder.path(), "manifest.toml", move |bytes| String::from_utf8(bytes).unwrap().replacen(&from, &to, 1).into_bytes())
    };
    for (from, to, word) in [
        ("window_samples = 45056", "window_samples = 0", "window_samples"),
        ("dim = 512", "dim = 511", "51"),
        ("mel_bands = 96", "mel_band = 96", "mel_band"),
        ("[normalise]", "[normalise", "manifest.toml"),
    ] {
        classify_with(&replaced(from, to)).fails(6, &["manifest.toml", word]);
    }
}

#[test]
fn a_model_that_returns_nan_teaches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (backbone, adapter, sounds) = (folder.path().join("tiny"), folder.path().join("adapter"), folder.path().join("sounds"));
    write_tiny_backbone(&backbone, "ln");
    // x W is below 0 for negative samples, and its logarithm not a number.
    write_samples(&sounds.join("a/a.wav"), 8000, &[-0.5, -0.5, -0.5, -0.5]);
    let ran = run!("teach", sounds, "--backbone", backbone, "--adapter", adapter);
    ran.fails(10, &["not a number"]);
    assert_eq!(inspect(&adapter)["rows"].as_u64(), Some(0));
    run!("classify", sounds, "--backbone", backbone, "--adapter", adapter).fails(12, &["learned nothing yet", "wheatear teach FOLDER"]);
    run!("classify", taught().sounds(), "--backbone", aisfx(), "--adapter", adapter).fails(5, &["another backbone", "expected tiny"]);
}

#[test]
fn an_adapter_that_is_none_empty_or_damaged_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let note = &notes("Violin")[0];
    let classify = |adapter: &Path| run!("classify", note, "--backbone", aisfx(), "--adapter", adapter);
    classify(&folder.path().join("nowhere")).fails(4, &["nowhere", "wheatear teach FOLDER"]);
    run!("inspect", folder.path().join("nowhere")).fails(4, &["nowhere"]);
    let other = folder.path().join("holiday photos");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("beach.jpg"), b"jpeg").unwrap();
    run!("teach", taught().sounds(), "--backbone", aisfx(), "--adapter", other).fails(4, &["holiday photos"]);
    assert_eq!(std::fs::read(other.join("beach.jpg")).unwrap(), b"jpeg");
    let copy = |name: &str| {
        let copy = folder.path().join(name);
        std::fs::create_dir(&copy).unwrap();
        for file in ["header", "chunks", "state", "lock"] {
            std::fs::copy(taught().adapter().join(file), copy.join(file)).unwrap();
        }
        copy
    };
    let damaged = copy("damaged header");
    let mut header = std::fs::read(damaged.join("header")).unwrap();
    let half = header.len() / 2;
    header[60] ^= 0x40;
    std::fs::write(damaged.join("header"), &header).unwrap();
    let said = classify(&damaged).ok().err;
    assert!(said.contains("one of the two copies"), "{said}");
    header[half + 60] ^= 0x40;
    std::fs::write(damaged.join("header"), &header).unwrap();
    classify(&damaged).fails(9, &["damaged header"]);
    for file in ["header", "chunks", "state"] {
        let short = copy(&format!("short {file}"));
        std::fs::write(short.join(file), b"").unwrap();
        if file == "state" {
            // No checkpoint was written yet: the journal has everything.
            let said = classify(&short).ok().err;
            assert!(said.contains("cut short"), "{said}");
        } else {
            classify(&short).fails(9, &[file]);
        }
        std::fs::remove_file(short.join(file)).unwrap();
        classify(&short).fails(4, &[file]);
    }
}

#[test]
fn bounds_and_places_that_are_taken_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = folder.path().join("adapter");
    let teach = |extra: [&str; 2]| run!("teach", taught().sounds(), "--backbone", aisfx(), "--adapter", adapter, extra[0], extra[1]);
    for (option, bound) in [("--replay-rows", "0"), ("--replay-rows", "4000000000"), ("--max-classes", "100000")] {
        teach([option, bound]).fails(6, &[&option[2..].replace('-', "_"), "expected ", bound]);
        assert!(!adapter.exists());
    }
    assert_eq!(teach(["--latent-bits", "3"]).code, Some(2));
    assert_eq!(teach(["--device", "xyz"]).code, Some(2));
    teach(["--max-classes", "2"]).fails(11, &["no room for another class", "at most 2", "max_classes"]);
    let kept = inspect(&adapter);
    assert_eq!(kept["classes"].as_array().unwrap().len(), 2, "what came before is kept: {kept}");

    let file = folder.path().join("a file");
    std::fs::write(&file, b"").unwrap();
    run!("classify", notes("Violin")[0], "--backbone", aisfx(), "--adapter", taught().adapter(), "--out", file)
        .fails(3, &["a file", "File exists", "choose another place"]);
    run!("teach", taught().sounds(), "--backbone", aisfx(), "--adapter", file).fails(3, &["a file", "choose another folder"]);
    assert_eq!(std::fs::read(&file).unwrap(), b"");
}
