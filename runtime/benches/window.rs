//! What a window costs around the backbone: the bare call, the whole path from 48 kHz samples to the probabilities of 20
//! classes, and its parts.
//!
//! `cargo bench -p wheatear --bench window` needs what `cargo xtask setup` makes. The ratio to read is `whole_path` over
//! `bare_backbone`, by their medians from the same run.

use divan::{Bencher, black_box};
use wheatear::audio::resample::Resampler;
use wheatear::backbone::Backbone;
use wheatear::backbone::library::assets_folder;
use wheatear::backbone::manifest::{GraphInput, Manifest};
use wheatear::backbone::session::{OrtBackbone, SessionOptions};
use wheatear::features::FrontEnd;
use wheatear::head::{Head, LinearHead};
use wheatear::latent::Quantiser;
use wheatear::learn::ClassName;
use wheatear::pipeline::{Embedder, Window};

/// Shows what this crate allocates; ONNX Runtime's own allocations are not seen by it.
#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

const SOURCE_RATE_HZ: u32 = 48_000;

fn main() {
    divan::main();
}

fn load() -> (Manifest, OrtBackbone) {
    let folder = assets_folder().unwrap_or_default().join("models/aisfx");
    let (manifest, folder) = Manifest::load(&folder).unwrap_or_else(|e| panic!("{e}; run `cargo xtask setup`"));
    let backbone = OrtBackbone::load(&manifest, &folder, None, &SessionOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    (manifest, backbone)
}

/// A chirp of `n` samples with some hiss, so that no number is special.
fn sound(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i as f32 * i as f32 * 1e-6).sin() * 0.4 + (i * 7919 % 1000) as f32 * 1e-5).collect()
}

/// The samples at 48 kHz that make one hop.
fn hop_samples(manifest: &Manifest) -> usize {
    (manifest.audio.hop_samples as f64 * f64::from(SOURCE_RATE_HZ) / f64::from(manifest.audio.rate_hz)).round() as usize
}

fn twenty_classes(dim: usize) -> LinearHead {
    LinearHead {
        name: "bench".into(),
        classes: (0..20).map(|c| ClassName::new(&format!("class {c:02}")).unwrap()).collect(),
        weights: sound(20 * dim),
        bias: vec![0.0; 20],
        temperature: 1.0,
        expansion: None,
    }
}

#[divan::bench(sample_count = 200)]
fn bare_backbone(bencher: Bencher) {
    let (manifest, mut backbone) = load();
    let mut input = vec![0.0; backbone.input_len()];
    FrontEnd::new(&manifest, backbone.input()).unwrap().compute(&sound(manifest.audio.window_samples as usize), &mut input);
    let mut embedding = vec![0.0; backbone.dim()];
    bencher.bench_local(|| backbone.embed(black_box(&input), &mut embedding).unwrap());
}

#[divan::bench(sample_count = 200)]
fn whole_path(bencher: Bencher) {
    let (manifest, backbone) = load();
    let samples = sound(hop_samples(&manifest));
    let quantiser = Quantiser::from_manifest(&manifest, None).unwrap();
    let (head, dim) = (twenty_classes(quantiser.dim()), quantiser.dim());
    let (mut latent, mut x, mut p) = (vec![0i8; dim], vec![0f32; dim], vec![0f32; head.classes.len()]);
    let mut embedder = Embedder::new(manifest, Box::new(backbone), SOURCE_RATE_HZ).unwrap();
    let mut push = || {
        let mut classify = |w: Window<'_>| {
            quantiser.quantise(w.embedding, &mut latent)?;
            quantiser.dequantise(&latent, &mut x);
            head.probabilities(&x, black_box(&mut p));
            Ok(())
        };
        embedder.push(black_box(&samples), &mut classify).unwrap();
    };
    // Fill the window: from then on each hop of samples makes one window.
    (0..4).for_each(|_| push());
    bencher.bench_local(push);
}

#[divan::bench]
fn resample_one_hop(bencher: Bencher) {
    let (manifest, _) = load();
    let samples = sound(hop_samples(&manifest));
    let mut resampler = Resampler::new(SOURCE_RATE_HZ, manifest.audio.rate_hz).unwrap();
    let mut sum = 0.0;
    bencher.bench_local(|| {
        resampler
            .push(black_box(&samples), &mut |x| {
                sum += x[0];
                Ok(())
            })
            .unwrap();
        sum
    });
}

#[divan::bench]
fn features_of_one_window(bencher: Bencher) {
    let (manifest, _) = load();
    let samples = sound(manifest.audio.window_samples as usize);
    let mut front_end = FrontEnd::new(&manifest, GraphInput::Features).unwrap();
    let mut input = vec![0.0; front_end.input_len()];
    bencher.bench_local(|| front_end.compute(black_box(&samples), &mut input));
}

#[divan::bench]
fn quantise(bencher: Bencher) {
    let (manifest, _) = load();
    let quantiser = Quantiser::from_manifest(&manifest, None).unwrap();
    let embedding = sound(quantiser.dim());
    let mut latent = vec![0i8; quantiser.dim()];
    bencher.bench_local(|| quantiser.quantise(black_box(&embedding), &mut latent).unwrap());
}

#[divan::bench]
fn head_of_twenty_classes(bencher: Bencher) {
    let (manifest, _) = load();
    let dim = manifest.embedding.dim as usize;
    let head = twenty_classes(dim);
    let (x, mut p) = (sound(dim), vec![0f32; 20]);
    bencher.bench_local(|| head.probabilities(black_box(&x), &mut p));
}
