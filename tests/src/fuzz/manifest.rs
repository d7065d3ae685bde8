//! Manifests of backbones: what is read is valid, is read again from what is written for it, and has one space.

use wheatear::backbone::manifest::Manifest;
use wheatear::latent::{Quantiser, SpaceId};

/// Takes `data` as the text of a manifest.
pub fn run(data: &[u8]) {
    let Ok(Ok(manifest)) = std::str::from_utf8(data).map(Manifest::parse) else { return };
    manifest.validate().expect("reading checks it");
    let written = toml::to_string(&manifest).expect("it was written once");
    let again = Manifest::parse(&written).unwrap_or_else(|e| panic!("{e}\n{written}"));
    assert_eq!(again, manifest);
    assert!(manifest.variant(None).is_ok() && manifest.variant(Some("no such variant \n")).is_err());
    assert!(manifest.features_per_window() < 1 << 40);
    for bits in [None, Some(4), Some(8)] {
        let (space, other) = (SpaceId::of(&manifest, bits), SpaceId::of(&again, bits));
        assert_eq!(space.is_ok(), Quantiser::from_manifest(&manifest, bits).is_ok());
        assert_eq!(space.ok(), other.ok());
    }
}

const HEAD: &str = r#"format = 1
name = "tiny"
description = "a backbone to fuzz"
modality = "audio"
licence = "CC0-1.0"
source = "nowhere"
[audio]
rate_hz = 16000
window_samples = 400
hop_samples = 160
[embedding]
dim = 3
scale = "sqrt-dim"
"#;
const QUANTISER: &str = "[quantiser]\nbits = 7\ncalibrated_on = \"noise\"\nscale = [0.5, 1e-3, 2]\n";
const LOG_MEL: &str = r#"[normalise]
kind = "none"
gain = 32768.0
[front_end]
kind = "log-mel"
n_fft = 256
window_length = 200
hop_length = 72
window = "hann-periodic"
power = 2.0
mel_bands = 8
mel_scale = "slaney"
mel_norm = "slaney"
f_min_hz = 60.0
f_max_hz = 3800.0
log = { kind = "decibel", floor = 1e-10, range_db = 80.0 }
scale = 0.1
offset = 2.0
"#;
const WAVEFORM: &str = "[normalise]\nkind = \"peak\"\nfloor = 0.001\n[front_end]\nkind = \"none\"\n";

fn variant(input: &str, shape: &str) -> String {
    let digest = "9d32b831032a9946e78d08cf42cd6159bf2b95da49fb57f7f88c619d0aa00048";
    format!(
        "[[variant]]\nname = \"a\"\nfile = \"a.onnx\"\nsha256 = \"{digest}\"\nprecision = \"f32\"\ninput = \"{input}\"\n\
         input_name = \"x\"\ninput_shape = {shape}\noutput_name = \"y\"\n"
    )
}

/// A manifest for samples, one for features, one not yet calibrated, and other logarithms.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let features = [HEAD, QUANTISER, LOG_MEL, &variant("features", "[1, 3, 8]"), &variant("waveform", "[400]")].concat();
    let log = |log: &str| features.replace("{ kind = \"decibel\", floor = 1e-10, range_db = 80.0 }", log);
    vec![
        ("waveform".into(), [HEAD, QUANTISER, WAVEFORM, &variant("waveform", "[1, 400]")].concat().into()),
        ("uncalibrated".into(), [HEAD, WAVEFORM, &variant("waveform", "[1, 400]")].concat().into()),
        ("ln".into(), log("{ kind = \"ln\", add = 1e-6 }").into()),
        ("log10".into(), log("{ kind = \"log10-one-plus\", factor = 10000.0 }").into()),
        ("features".into(), features.into()),
    ]
}
