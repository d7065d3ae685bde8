//! Loading and running graphs, good and bad, with ONNX Runtime (golden/tiny_graphs.py makes the graphs).

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use wheatear::backbone::Backbone;
use wheatear::backbone::manifest::{GraphInput, Manifest};
use wheatear::backbone::session::{Optimise, OrtBackbone, SessionOptions};
use wheatear::pipeline::Embedder;
use wheatear::{Error, ErrorKind};

struct Tiny {
    folder: tempfile::TempDir,
    manifest: Manifest,
    x: Vec<f32>,
    y: Vec<f32>,
}

/// A folder with the graph called `name` and a manifest that fits it.
fn tiny(name: &str) -> Tiny {
    let golden: serde_json::Value = serde_json::from_str(include_str!("golden/tiny_graphs.json")).unwrap();
    let graph = &golden["graphs"][name];
    let hex = graph["onnx_hex"].as_str().unwrap();
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
    let numbers = |v: &serde_json::Value| v.as_array().into_iter().flatten().map(|x| x.as_f64().unwrap() as f32).collect();
    folder_with(&bytes, numbers(&golden["x"]), numbers(&graph["y"]))
}

fn folder_with(bytes: &[u8], x: Vec<f32>, y: Vec<f32>) -> Tiny {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tiny.onnx"), bytes).unwrap();
    let sha256: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
    let text = format!(
        r#"
        format = 1
        name = "tiny"
        modality = "audio"
        licence = "MIT"
        audio = {{ rate_hz = 8000, window_samples = 4, hop_samples = 4 }}
        normalise = {{ kind = "none", gain = 1.0 }}
        front_end = {{ kind = "none" }}
        embedding = {{ dim = 3, scale = "none" }}
        [[variant]]
        name = "v"
        file = "tiny.onnx"
        sha256 = "{sha256}"
        precision = "f32"
        input = "waveform"
        input_name = "x"
        input_shape = [1, 4]
        output_name = "y"
        "#
    );
    Tiny { folder, manifest: Manifest::parse(&text).unwrap(), x, y }
}

/// ONNX Runtime where the set-up put it. Without it these tests cannot say anything, so they fail.
fn options() -> SessionOptions {
    SessionOptions::default()
}

fn load(t: &Tiny) -> Result<OrtBackbone, Error> {
    OrtBackbone::load(&t.manifest, t.folder.path(), None, &options())
}

fn refused(t: &Tiny, kind: ErrorKind, words: &[&str]) {
    let e = load(t).map(|_| ()).unwrap_err();
    assert_eq!(e.kind(), kind, "{e}");
    for word in words {
        assert!(e.to_string().contains(word), "no {word:?} in: {e}");
    }
}

#[test]
fn f32_f16_and_dynamic_graphs_give_the_reference_evaluators_values() {
    for name in ["f32", "f16", "dynamic"] {
        let t = tiny(name);
        let mut backbone = load(&t).unwrap_or_else(|e| panic!("{name}: {e}\nif ONNX Runtime is missing: cargo xtask setup"));
        assert_eq!((backbone.input(), backbone.input_len(), backbone.dim()), (GraphInput::Waveform, 4, 3), "{name}");
        let mut y = [0f32; 3];
        for _ in 0..3 {
            backbone.embed(&[9.0; 4], &mut y).unwrap();
            backbone.embed(&t.x, &mut y).unwrap();
            assert_eq!(y.as_slice(), t.y, "{name}");
        }
    }
}

#[test]
fn every_optimisation_level_and_two_threads_give_the_same_values() {
    let t = tiny("f32");
    for optimise in [Optimise::None, Optimise::Basic, Optimise::All] {
        let options = SessionOptions { optimise, intra_threads: 2, ..options() };
        let mut backbone = OrtBackbone::load(&t.manifest, t.folder.path(), Some("v"), &options).unwrap();
        let mut y = [0f32; 3];
        backbone.embed(&t.x, &mut y).unwrap();
        assert_eq!(y.as_slice(), t.y, "{optimise:?}");
        assert_eq!(backbone.providers(), ["cpu"]);
        assert!(backbone.library().to_string_lossy().contains("onnxruntime"));
    }
}

#[test]
fn a_window_of_the_wrong_size_is_refused() {
    let mut backbone = load(&tiny("f32")).unwrap();
    assert_eq!(backbone.embed(&[0.0; 5], &mut [0.0; 3]).unwrap_err().kind(), ErrorKind::Backbone);
    assert_eq!(backbone.embed(&[0.0; 4], &mut [0.0; 2]).unwrap_err().kind(), ErrorKind::Backbone);
}

#[test]
fn a_graph_that_is_not_the_manifests_is_a_mismatch() {
    let t = tiny("f32");
    let path = t.folder.path().join("tiny.onnx");
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    refused(&t, ErrorKind::Mismatch, &["tiny.onnx", &t.manifest.variant[0].sha256]);
    std::fs::remove_file(&path).unwrap();
    refused(&t, ErrorKind::Missing, &["tiny.onnx"]);
}

#[test]
fn a_file_that_is_not_onnx_is_refused() {
    for bytes in [&b""[..], b"PK\x03\x04 a zip, not a graph", &[0xff; 5000]] {
        refused(&folder_with(bytes, vec![], vec![]), ErrorKind::Input, &["not an ONNX graph", "tiny.onnx"]);
    }
}

#[test]
fn a_manifest_that_does_not_fit_its_graph_is_refused_with_what_the_graph_has() {
    let mut t = tiny("f32");
    t.manifest.variant[0].input_name = "samples".into();
    refused(&t, ErrorKind::Config, &["expected samples, found x"]);
    let mut t = tiny("f32");
    t.manifest.variant[0].output_name = "logits".into();
    refused(&t, ErrorKind::Config, &["expected logits, found y"]);
    let mut t = tiny("f32");
    t.manifest.variant[0].input_shape = vec![2, 2];
    refused(&t, ErrorKind::Config, &["[2, 2]", "[1, 4]"]);
    let mut t = tiny("f32");
    t.manifest.embedding.dim = 5;
    refused(&t, ErrorKind::Config, &["5 values", "[1, 3]"]);
    refused(&tiny("int"), ErrorKind::Config, &["element type", "f32 or f16"]);
    refused(&tiny("two_inputs"), ErrorKind::Config, &["one input", "x, b"]);
}

#[test]
fn a_provider_that_cannot_be_used_is_an_error_that_names_what_there_is() {
    let t = tiny("f32");
    for name in ["cuda", "npu-of-tomorrow"] {
        let options = SessionOptions { providers: vec![name.into(), "cpu".into()], ..options() };
        let e = OrtBackbone::load(&t.manifest, t.folder.path(), None, &options).map(|_| ()).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Config);
        assert!(e.to_string().contains(name) && e.to_string().contains("offers cpu"), "{e}");
    }
}

#[test]
fn an_embedding_that_is_not_a_number_is_refused_and_the_window_named() {
    let t = tiny("ln");
    let mut embedder = Embedder::new(t.manifest.clone(), Box::new(load(&t).unwrap()), 8000).unwrap();
    let mut windows = 0;
    let mut count = |_: wheatear::pipeline::Window<'_>| {
        windows += 1;
        Ok(())
    };
    // x W is [8, 4, 0] and then [-8, -4, 0]: ln gives minus infinity at once, not a number in the second.
    let e = embedder.push(&[1.0; 4], &mut count).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Backbone);
    assert!(e.to_string().contains("window 0") && e.to_string().contains("component 2"), "{e}");
    embedder.reset(8000).unwrap();
    let e = embedder.push(&[-1.0; 4], &mut count).unwrap_err();
    assert!(e.to_string().contains("component 0"), "{e}");
    assert_eq!(windows, 0);
}

#[test]
fn another_library_cannot_be_loaded_beside_the_first() {
    let t = tiny("f32");
    load(&t).unwrap();
    let options = SessionOptions { library: Some(PathBuf::from("/nowhere/libonnxruntime.so")), ..options() };
    let e = OrtBackbone::load(&t.manifest, t.folder.path(), None, &options).map(|_| ()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Mismatch, "{e}");
}

#[test]
fn a_folder_without_a_manifest_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let e = Embedder::open(Path::new(folder.path()), None, &options()).map(|_| ()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Missing, "{e}");
}
