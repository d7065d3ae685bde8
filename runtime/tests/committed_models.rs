//! The manifests under models/ are what set-up copies beside the built graphs: they must load, be calibrated, and agree
//! with the golden values their reference scripts printed.

use std::path::{Path, PathBuf};

use wheatear::backbone::manifest::{FrontEndSpec, GraphInput, Manifest, Precision};
use wheatear::latent::SpaceId;

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models")
}

fn golden(name: &str) -> serde_json::Value {
    let file = models().join(name).join("golden.json");
    serde_json::from_str(&std::fs::read_to_string(file).expect("golden.json is there")).expect("golden.json is JSON")
}

#[test]
fn committed_manifests_load_with_both_inputs_in_both_precisions() {
    for name in ["aisfx", "speech-embedding"] {
        let (manifest, _) = Manifest::load(&models().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(manifest.name, name);
        for input in [GraphInput::Features, GraphInput::Waveform] {
            for precision in [Precision::F32, Precision::F16] {
                let found = manifest.variant.iter().filter(|v| v.input == input && v.precision == precision).count();
                assert_eq!(found, 1, "{name}: variants with {input:?} in {precision:?}");
            }
        }
        assert_eq!(manifest.variant[0].name, "mel-f32", "{name}: the reference");
    }
}

#[test]
fn committed_scales_have_a_floor_at_half_their_median() {
    for name in ["aisfx", "speech-embedding"] {
        let (manifest, _) = Manifest::load(&models().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut scale = manifest.quantiser.expect("calibrated").scale;
        scale.sort_by(f32::total_cmp);
        let median = scale[scale.len() / 2];
        assert!(scale[0] >= 0.499 * median, "{name}: smallest {} median {median}", scale[0]);
        assert!(scale[scale.len() - 1] < 10.0 * median, "{name}: largest {}", scale[scale.len() - 1]);
    }
}

#[test]
fn golden_values_are_of_the_window_the_manifest_gives() {
    for name in ["aisfx", "speech-embedding"] {
        let (manifest, _) = Manifest::load(&models().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let golden = golden(name);
        let audio = &manifest.audio;
        assert_eq!(golden["samples"], audio.window_samples, "{name}");
        assert_eq!(golden["rate_hz"], audio.rate_hz, "{name}");
        assert_eq!(golden["embedding"].as_array().map(Vec::len), Some(manifest.embedding.dim as usize), "{name}");
        let FrontEndSpec::LogMel(mel) = &manifest.front_end else { panic!("{name}: no log-mel front end") };
        let last = mel.frames(audio.window_samples as usize) - 1;
        assert!(golden["log_mel_first_16"].get(last.to_string()).is_some(), "{name}: frame {last}");
    }
}

#[test]
fn the_spaces_of_the_committed_manifests_have_the_digests_an_independent_program_gives() {
    // python3 runtime/tests/golden/space_id.py models/*/manifest.toml
    for (name, digest) in [
        ("aisfx", "58d985f01f27c6211171228004696a15c8b5179ea6ccb12acfc84fa1998e1327"),
        ("speech-embedding", "6e598004b983443676a7c5db0a19f9311827fc550a827427ea43fcfaeab0d12f"),
    ] {
        let (manifest, _) = Manifest::load(&models().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(SpaceId::of(&manifest, None).unwrap().to_string(), digest, "{name}");
        assert_ne!(SpaceId::of(&manifest, Some(7)).unwrap().to_string(), digest, "{name}: other bits are another space");
        let mut other = manifest.clone();
        other.audio.hop_samples -= 1;
        assert_ne!(SpaceId::of(&other, None).unwrap().to_string(), digest, "{name}: another hop is another space");
        let mut relabelled = manifest;
        relabelled.description = "the same numbers by another name".into();
        assert_eq!(SpaceId::of(&relabelled, None).unwrap().to_string(), digest, "{name}: words are not part of it");
    }
}
