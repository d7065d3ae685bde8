//! What the tests teach: real instrument notes, sounds made here, the real backbone and tiny ones.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hound::{SampleFormat, WavSpec, WavWriter};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::command::{root, run};

/// Three instruments that differ, so that a few notes suffice.
pub const INSTRUMENTS: [&str; 3] = ["Church Organ", "Trombone", "Violin"];

fn assets() -> PathBuf {
    let assets = std::env::var_os("WHEATEAR_ASSETS").map_or_else(|| root().join("target/assets"), PathBuf::from);
    assert!(assets.join("models/aisfx/manifest.toml").is_file(), "{} is not set up: run `cargo xtask setup`", assets.display());
    assets
}

/// The backbone of general sounds.
pub fn aisfx() -> PathBuf {
    assets().join("models/aisfx")
}

/// The backbone of spoken words.
pub fn speech() -> PathBuf {
    assets().join("models/speech-embedding")
}

/// ONNX Runtime's folder.
pub fn onnxruntime() -> PathBuf {
    assets().join("onnxruntime")
}

/// The notes of an instrument, sorted.
pub fn notes(instrument: &str) -> Vec<PathBuf> {
    let folder = assets().join("sounds/instruments").join(instrument);
    let mut notes: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    notes.sort();
    notes
}

/// Copies sounds into `folder`, which is made.
pub fn put(folder: &Path, sounds: &[PathBuf]) {
    std::fs::create_dir_all(folder).unwrap();
    for sound in sounds {
        std::fs::copy(sound, folder.join(sound.file_name().unwrap())).unwrap();
    }
}

/// Notes `first..last` of each instrument under `folder`, one sub-folder each.
pub fn put_instruments(folder: &Path, instruments: &[&str], first: usize, last: usize) {
    instruments.iter().for_each(|i| put(&folder.join(i), &notes(i)[first..last]));
}

/// An adapter that knows the first six notes of each of [`INSTRUMENTS`], taught once for all tests that only read it.
pub struct Taught {
    folder: TempDir,
}

impl Taught {
    pub fn adapter(&self) -> PathBuf {
        self.folder.path().join("adapter")
    }

    pub fn sounds(&self) -> PathBuf {
        self.folder.path().join("sounds")
    }
}

pub fn taught() -> &'static Taught {
    static TAUGHT: OnceLock<Taught> = OnceLock::new();
    TAUGHT.get_or_init(|| {
        let taught = Taught { folder: tempfile::tempdir().unwrap() };
        put_instruments(&taught.sounds(), &INSTRUMENTS, 0, 6);
        run!("teach", taught.sounds(), "--backbone", aisfx(), "--adapter", taught.adapter()).ok();
        taught
    })
}

/// An adapter with room for fewer rows than it was taught, so that some have left replay; taught once for all tests, which
/// copy it.
pub fn crowded() -> &'static Path {
    static CROWDED: OnceLock<TempDir> = OnceLock::new();
    let folder = CROWDED.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let (adapter, sounds) = (folder.path().join("adapter"), taught().sounds());
        run!("teach", sounds, "--backbone", aisfx(), "--adapter", adapter, "--replay-rows", "32").ok();
        folder
    });
    folder.path()
}

/// A copy of the adapter in `folder`, to be changed.
pub struct Copy {
    folder: TempDir,
}

impl Copy {
    pub fn of(adapter: &Path) -> Copy {
        let copy = Copy { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(copy.adapter()).unwrap();
        for entry in std::fs::read_dir(adapter).unwrap().map(|e| e.unwrap()) {
            std::fs::copy(entry.path(), copy.adapter().join(entry.file_name())).unwrap();
        }
        copy
    }

    pub fn of_taught() -> Copy {
        Copy::of(&taught().adapter())
    }

    pub fn of_crowded() -> Copy {
        Copy::of(&crowded().join("adapter"))
    }

    pub fn adapter(&self) -> PathBuf {
        self.folder.path().join("adapter")
    }

    /// A place beside it.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Teaches it notes `first..last` of an instrument.
    pub fn teach(&self, instrument: &str, first: usize, last: usize) -> Value {
        let sounds = self.beside(&format!("{instrument} {first}-{last}"));
        put(&sounds.join(instrument), &notes(instrument)[first..last]);
        run!("teach", sounds, "--backbone", aisfx(), "--adapter", self.adapter(), "--json").ok().json()
    }

    /// Its files with their bytes.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let entries = std::fs::read_dir(self.adapter()).unwrap().map(|e| e.unwrap());
        entries.map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap())).collect()
    }
}

/// `wheatear inspect --rows --json`, without where the rows lie.
pub fn held(adapter: &Path) -> Vec<Value> {
    let mut listed = run!("inspect", adapter, "--rows", "--json").ok().json();
    let rows = listed["rows"].as_array_mut().unwrap();
    rows.iter_mut().for_each(|r| drop(r.as_object_mut().unwrap().remove("chunk")));
    std::mem::take(rows)
}

/// `wheatear inspect --json`.
pub fn inspect(adapter: &Path) -> Value {
    run!("inspect", adapter, "--json").ok().json()
}

/// The digest of an adapter's statistics.
pub fn digest(adapter: &Path) -> String {
    let digest = inspect(adapter)["statistics_sha256"].as_str().unwrap().to_owned();
    assert_eq!(digest.len(), 64);
    digest
}

/// Class names and rows that an adapter holds.
pub fn classes(adapter: &Path) -> Vec<(String, u64)> {
    let facts = inspect(adapter);
    let class = |c: &Value| (c["name"].as_str().unwrap().to_owned(), c["rows"].as_u64().unwrap());
    facts["classes"].as_array().unwrap().iter().map(class).collect()
}

/// The format of a WAV file.
pub fn spec(channels: u16, rate_hz: u32, bits: u16) -> WavSpec {
    let sample_format = if bits == 32 { SampleFormat::Float } else { SampleFormat::Int };
    WavSpec { channels, sample_rate: rate_hz, bits_per_sample: bits, sample_format }
}

/// A decaying chord above `hz` as a WAV file, `seconds` long, the same in every channel.
pub fn write_chord(path: &Path, spec: WavSpec, hz: f64, seconds: f64) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut wav = WavWriter::create(path, spec).unwrap();
    for i in 0..(seconds * f64::from(spec.sample_rate)) as usize {
        let t = i as f64 / f64::from(spec.sample_rate);
        let v: f64 = [1.0, 1.26, 1.5].iter().map(|k| 0.25 * (2.0 * std::f64::consts::PI * hz * k * t).sin()).sum::<f64>() * (-t).exp();
        for _ in 0..spec.channels {
            match spec.sample_format {
                SampleFormat::Float => wav.write_sample(v as f32).unwrap(),
                SampleFormat::Int => wav.write_sample((v * f64::from((1i32 << (spec.bits_per_sample - 1)) - 1)) as i32).unwrap(),
            }
        }
    }
    wav.finalize().unwrap();
}

/// A WAV file with these samples.
pub fn write_samples(path: &Path, rate_hz: u32, samples: &[f32]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut wav = WavWriter::create(path, spec(1, rate_hz, 32)).unwrap();
    samples.iter().for_each(|s| wav.write_sample(*s).unwrap());
    wav.finalize().unwrap();
}

/// A tiny backbone in `folder`: windows of 4 samples at 8 kHz give 3 components, by the graph of that name among
/// runtime/tests/golden/tiny_graphs.json.
pub fn write_tiny_backbone(folder: &Path, graph: &str) {
    let golden: Value =
        serde_json::from_str(&std::fs::read_to_string(root().join("runtime/tests/golden/tiny_graphs.json")).unwrap()).unwrap();
    let hex = golden["graphs"][graph]["onnx_hex"].as_str().unwrap();
    let bytes: Vec<u8> = (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect();
    write_backbone(folder, &bytes);
}

/// A backbone in `folder` whose ONNX file is `bytes`, whatever they are.
pub fn write_backbone(folder: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("tiny.onnx"), bytes).unwrap();
    let manifest = format!(
        r#"format = 1
name = "tiny"
modality = "audio"
licence = "MIT"
audio = {{ rate_hz = 8000, window_samples = 4, hop_samples = 4 }}
normalise = {{ kind = "none", gain = 1.0 }}
front_end = {{ kind = "none" }}
embedding = {{ dim = 3, scale = "none" }}
quantiser = {{ bits = 8, scale = [0.1, 0.1, 0.1] }}
[[variant]]
name = "v"
file = "tiny.onnx"
sha256 = "{}"
precision = "f32"
input = "waveform"
input_name = "x"
input_shape = [1, 4]
output_name = "y"
"#,
        Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect::<String>()
    );
    std::fs::write(folder.join("manifest.toml"), manifest).unwrap();
}
