//! The real aisfx backbone, from samples to embeddings. Needs what `cargo xtask setup` makes; without it these fail.

use std::f64::consts::PI;
use std::path::PathBuf;

use wheatear::backbone::library::assets_folder;
use wheatear::backbone::manifest::{EmbeddingScale, GraphInput, Manifest};
use wheatear::backbone::session::SessionOptions;
use wheatear::features::FrontEnd;
use wheatear::features::log_mel::LogMel;
use wheatear::latent::scale_embedding;
use wheatear::pipeline::{Embedder, Window};

fn folder() -> PathBuf {
    let folder = assets_folder().unwrap_or_default().join("models/aisfx");
    assert!(folder.join("manifest.toml").is_file(), "{} is missing: run `cargo xtask setup`", folder.display());
    folder
}

fn embedder(variant: &str) -> Embedder {
    Embedder::open(&folder(), Some(variant), &SessionOptions::default()).unwrap()
}

/// The test signal that models/aisfx/golden.json describes, at any rate.
fn signal(n: usize, rate_hz: f64) -> Vec<f32> {
    let x = |i: usize| {
        let t = i as f64 / rate_hz;
        let tones = 0.5 * (-3.0 * t).exp() * ((2.0 * PI * 440.0 * t).sin() + 0.5 * (2.0 * PI * 3000.0 * t).sin());
        tones + 0.2 * t * (2.0 * PI * (200.0 * t + 1500.0 * t * t)).sin()
    };
    (0..n).map(|i| x(i) as f32).collect()
}

fn embed(embedder: &mut Embedder, samples: &[f32], piece: usize) -> Vec<Vec<f32>> {
    let mut out = Vec::new();
    let mut keep = |w: Window<'_>| {
        out.push(w.embedding.to_vec());
        Ok(())
    };
    for piece in samples.chunks(piece) {
        embedder.push(piece, &mut keep).unwrap();
    }
    embedder.finish(&mut keep).unwrap();
    out
}

/// Length of the difference, relative to the length of `b`.
fn difference(a: &[f32], b: &[f32]) -> f64 {
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|v| v * v).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(x, y)| f64::from(x - y))) / norm(&mut b.iter().map(|y| f64::from(*y)))
}

/// Samples of one window; the golden values are of exactly one.
fn window() -> usize {
    let (manifest, _) = Manifest::load(&folder()).unwrap();
    assert_eq!(golden()["samples"], manifest.audio.window_samples, "the golden values are of another window: make them again");
    manifest.audio.window_samples as usize
}

fn golden() -> serde_json::Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/aisfx/golden.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn numbers(v: &serde_json::Value) -> Vec<f32> {
    v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

#[test]
fn the_front_end_gives_the_reference_log_mel() {
    let golden = golden();
    let (manifest, _) = Manifest::load(&folder()).unwrap();
    let mut log_mel = LogMel::from_manifest(&manifest).unwrap();
    let mut samples = signal(window(), 44_100.0);
    let peak = wheatear::features::peak(&samples);
    samples.iter_mut().for_each(|x| *x /= peak);
    let mut features = vec![0f32; log_mel.features_len(samples.len())];
    log_mel.compute(&samples, &mut features);
    for (frame, want) in golden["log_mel_first_16"].as_object().unwrap() {
        let first = frame.parse::<usize>().unwrap() * 96;
        let worst = features[first..].iter().zip(numbers(want)).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(worst < 2e-5, "frame {frame}: {worst}");
    }
    let sum: f64 = features.iter().map(|x| f64::from(*x)).sum();
    assert!((sum / golden["log_mel_sum"].as_f64().unwrap() - 1.0).abs() < 1e-5, "{sum}");
}

#[test]
fn both_f32_variants_match_the_reference_and_each_other() {
    let mut want = numbers(&golden()["embedding"]);
    scale_embedding(EmbeddingScale::SqrtDim, &mut want).unwrap();
    let samples = signal(window(), 44_100.0);
    let [mel, wave] = ["mel-f32", "wave-f32"].map(|v| embed(&mut embedder(v), &samples, 5000).remove(0));
    let (a, b, c) = (difference(&mel, &want), difference(&wave, &want), difference(&mel, &wave));
    println!("relative difference: mel to reference {a:.2e}, wave to reference {b:.2e}, mel to wave {c:.2e}");
    assert!(a < 1e-3 && b < 1e-3 && c < 1e-3, "mel {a:e}, wave {b:e}, mel to wave {c:e}");
}

#[test]
fn f16_variants_stay_close_to_f32() {
    let samples = signal(5 * window(), 44_100.0);
    let want = embed(&mut embedder("mel-f32"), &samples, 5000);
    for variant in ["mel-f16", "wave-f16"] {
        let got = embed(&mut embedder(variant), &samples, 5000);
        assert_eq!(got.len(), want.len());
        let worst = got.iter().zip(&want).map(|(x, y)| difference(x, y)).fold(0.0, f64::max);
        println!("{variant}: worst relative difference {worst:.2e} over {} windows", want.len());
        assert!(worst < 1e-2, "{variant}: {worst:e}");
    }
}

#[test]
fn ragged_pieces_at_48_khz_give_the_bits_of_one_push() {
    let samples = signal(250_000, 48_000.0);
    let mut embedder = embedder("mel-f32");
    embedder.reset(48_000).unwrap();
    let whole = embed(&mut embedder, &samples, samples.len());
    assert!(whole.len() >= 3);
    for piece in [213, 480, 1024, 70_001] {
        assert_eq!(embed(&mut embedder, &samples, piece), whole, "pieces of {piece}");
    }
}

#[test]
fn hiss_far_below_the_floor_stays_quiet_in_the_features() {
    let (manifest, _) = Manifest::load(&folder()).unwrap();
    let mut front_end = FrontEnd::new(&manifest, GraphInput::Features).unwrap();
    let mut mean = |amplitude: f32| {
        let hiss = |i: u32| ((i.wrapping_mul(2_654_435_761) >> 16) as f32 / 32_768.0 - 1.0) * amplitude;
        let samples: Vec<f32> = (0..manifest.audio.window_samples).map(hiss).collect();
        let mut features = vec![0f32; front_end.input_len()];
        front_end.compute(&samples, &mut features);
        features.iter().sum::<f32>() / features.len() as f32
    };
    // Above the floor the level does not matter; below it, it does: -140 dB full scale is next to nothing.
    let (loud, soft, faint) = (mean(0.5), mean(0.01), mean(1e-7));
    assert!((loud / soft - 1.0).abs() < 1e-4, "{loud} {soft}");
    assert!(faint < 0.01 * loud, "{faint} for {loud}");
}
