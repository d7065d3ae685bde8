//! What happens where ONNX Runtime is not. This binary never loads one: a process keeps the first that loads.

use std::path::Path;

use wheatear::ErrorKind;
use wheatear::backbone::manifest::Manifest;
use wheatear::backbone::session::{OrtBackbone, SessionOptions};

fn load(library: &Path) -> wheatear::Error {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x.onnx"), b"").unwrap();
    let manifest = Manifest::parse(
        r#"
        format = 1
        name = "x"
        modality = "audio"
        licence = "MIT"
        audio = { rate_hz = 8000, window_samples = 4, hop_samples = 4 }
        normalise = { kind = "none", gain = 1.0 }
        front_end = { kind = "none" }
        embedding = { dim = 3, scale = "none" }
        [[variant]]
        name = "v"
        file = "x.onnx"
        sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        precision = "f32"
        input = "waveform"
        input_name = "x"
        input_shape = [1, 4]
        output_name = "y"
        "#,
    )
    .unwrap();
    let options = SessionOptions { library: Some(library.to_path_buf()), ..SessionOptions::default() };
    OrtBackbone::load(&manifest, folder.path(), None, &options).map(|_| ()).unwrap_err()
}

#[test]
fn a_missing_library_is_an_error_with_the_place_and_the_command_that_installs_it() {
    let e = load(Path::new("/nowhere/libonnxruntime.so"));
    assert_eq!(e.kind(), ErrorKind::Missing);
    let text = e.to_string();
    for word in ["/nowhere/libonnxruntime.so: not there", "cargo xtask setup", "pip download", "ORT_DYLIB_PATH"] {
        assert!(text.contains(word), "no {word:?} in: {text}");
    }
}

#[test]
fn a_file_that_is_no_library_is_an_error_and_not_a_panic() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"\x7fELF and nothing behind it").unwrap();
    let e = load(file.path());
    assert_eq!(e.kind(), ErrorKind::Missing);
    assert!(e.to_string().contains(&file.path().display().to_string()), "{e}");
}

#[test]
fn a_folder_without_a_library_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let e = load(folder.path());
    assert!(e.kind() == ErrorKind::Missing && e.to_string().contains("not there"), "{e}");
}
