//! Log-mel spectrograms against an independent float64 implementation (golden/log_mel.py).

use std::f64::consts::PI;

use wheatear::backbone::manifest::LogMelSpec;
use wheatear::features::log_mel::LogMel;

/// The signal of golden/log_mel.py.
fn signal(n: usize) -> Vec<f32> {
    let x = |i: usize| {
        let t = i as f64 / 16000.0;
        0.6 * (2.0 * PI * 300.0 * t).sin() * (-4.0 * t).exp() + 0.3 * (2.0 * PI * (500.0 * t + 4000.0 * t * t)).sin()
    };
    (0..n).map(|i| x(i) as f32).collect()
}

#[test]
fn every_scale_norm_log_and_window_matches_the_float64_reference() {
    let golden: serde_json::Value = serde_json::from_str(include_str!("golden/log_mel.json")).unwrap();
    let samples = signal(golden["samples"].as_u64().unwrap() as usize);
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 5);
    let mut failures = Vec::new();
    for case in cases {
        let spec: LogMelSpec = serde_json::from_value(case["spec"].clone()).unwrap();
        let bands = spec.mel_bands as usize;
        let mut log_mel = LogMel::new(&spec, 16000);
        let mut got = vec![0f32; log_mel.features_len(samples.len())];
        log_mel.compute(&samples, &mut got);
        assert_eq!(got.len(), case["frames"].as_u64().unwrap() as usize * bands, "{spec:?}");
        for (t, row) in case["rows"].as_object().unwrap() {
            let t: usize = t.parse().unwrap();
            for (b, want) in row.as_array().unwrap().iter().enumerate() {
                let (got, want) = (f64::from(got[t * bands + b]), want.as_f64().unwrap());
                // f32 against f64: the rounding of a spectrum is relative to its largest bin (about 1e-7 of it).
                if (got - want).abs() > 2e-4 * (1.0 + want.abs()) {
                    failures.push(format!("{:?} {:?} frame {t} band {b}: {got} for {want}", spec.mel_scale, spec.log));
                }
            }
        }
        let sum: f64 = got.iter().map(|x| f64::from(*x)).sum();
        let want = case["sum"].as_f64().unwrap();
        if (sum - want).abs() > 1e-4 * (1.0 + want.abs()) {
            failures.push(format!("{:?} {:?} sum: {sum} for {want}", spec.mel_scale, spec.log));
        }
    }
    assert!(failures.is_empty(), "{} values differ:\n{}", failures.len(), failures.join("\n"));
}
