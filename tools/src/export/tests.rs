//! The command from end to end on small models, with ONNX Runtime.

use clap::Parser;
use wheatear::backbone::manifest::{GraphInput, Manifest, Precision};
use wheatear::backbone::probe::{Array, Probe};
use wheatear::pipeline::Embedder;
use wheatear::{Error, ErrorKind};

use super::*;
use crate::onnx::proto::{DataLocation, DataType, ModelProto, OperatorSetIdProto, StringStringEntryProto, TensorProto};
use crate::onnx::testing::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

/// Runs `wheatear export FOLDER/model.onnx OPTIONS... ` after writing the model.
fn export(folder: &Path, model: &ModelProto, options: &str) -> anyhow::Result<()> {
    std::fs::write(folder.join("model.onnx"), file::encode(model).unwrap()).unwrap();
    export_file(folder, options)
}

fn export_file(folder: &Path, options: &str) -> anyhow::Result<()> {
    let options = options.replace("DIR", folder.to_str().unwrap());
    let model = folder.join("model.onnx");
    let line = ["export", model.to_str().unwrap()].into_iter().chain(options.split_whitespace());
    run(&Line::parse_from(line).args)
}

fn refused(result: anyhow::Result<()>) -> (ErrorKind, String) {
    let e = result.expect_err("refused");
    (e.downcast_ref::<Error>().expect("an error of the library").kind(), e.to_string())
}

/// A classifier of 1600 samples: frames of 64 through two layers, pooled.
fn wave_classifier() -> ModelProto {
    let mut model = mlp_classifier();
    let graph = model.graph.as_mut().unwrap();
    graph.node.splice(0..0, [node("Reshape", &["samples", "frames_shape"], &["x"])]);
    graph.node[3].input[0] = "pooled".into();
    let mut pool = node("ReduceMean", &["hidden"], &["pooled"]);
    pool.attribute = vec![ints("axes", &[0])];
    graph.node.insert(3, pool);
    graph.initializer.push(TensorProto::from_i64("frames_shape", &[2], &[-1, 64]));
    graph.input = vec![input("samples", &["batch", "1600"])];
    graph.output = vec![input("p", &["1", "5"])];
    model
}

/// Writes `count` short chirps at 8 kHz under `folder`/sounds, one in a subfolder.
fn sounds(folder: &Path, count: usize) {
    std::fs::create_dir_all(folder.join("sounds/more")).unwrap();
    for i in 0..count {
        let path = folder.join(if i == 0 { "sounds/more/0.wav".into() } else { format!("sounds/{i}.wav") });
        let spec = hound::WavSpec { channels: 1, sample_rate: 8000, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
        let mut wav = hound::WavWriter::create(path, spec).unwrap();
        for t in 0..8000i32 {
            let phase = (t * (40 + 13 * i as i32) % 997) as f32 / 997.0;
            wav.write_sample(((phase - 0.5) * 20000.0) as i16).unwrap();
        }
        wav.finalize().unwrap();
    }
}

const WAVE: &str = "--out DIR/b --rate-hz 8000 --licence MIT";

#[test]
fn a_classifier_of_samples_becomes_a_backbone_that_embeds_sounds() {
    let dir = tempfile::tempdir().unwrap();
    sounds(dir.path(), 10);
    std::fs::write(dir.path().join("sounds/broken.wav"), b"RIFFnonsense").unwrap();
    export(dir.path(), &wave_classifier(), &format!("--cut auto {WAVE} --name chirp --calibrate DIR/sounds --f16")).unwrap();
    let (manifest, folder) = Manifest::load(&dir.path().join("b")).unwrap();
    assert_eq!((manifest.audio.rate_hz, manifest.audio.window_samples, manifest.audio.hop_samples), (8000, 1600, 800));
    assert_eq!((manifest.embedding.dim, manifest.variant.len()), (16, 2));
    assert_eq!(manifest.variant[0].input_shape, [1, 1600]);
    assert_eq!(manifest.variant[1].precision, Precision::F16);
    assert_eq!(manifest.quantiser.as_ref().unwrap().scale.len(), 16);
    let names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    // Both variants embed, and agree.
    let mut embeddings = Vec::new();
    for variant in ["wave-f32", "wave-f16"] {
        let mut embedder = Embedder::open(&folder, Some(variant), &Default::default()).unwrap();
        let mut first = Vec::new();
        let mut keep = |w: wheatear::pipeline::Window<'_>| {
            first = if w.index == 0 { w.embedding.to_vec() } else { std::mem::take(&mut first) };
            Ok(())
        };
        let summary = embedder.embed_file(&dir.path().join("sounds/3.wav"), &mut keep).unwrap();
        assert_eq!(summary.windows, 9);
        embeddings.push(first);
    }
    let apart = embeddings[0].iter().zip(&embeddings[1]).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    assert!(apart > 0.0 && apart < 0.01, "{apart}");
}

#[test]
fn an_exported_graph_exports_again_from_its_own_metadata() {
    let dir = tempfile::tempdir().unwrap();
    sounds(dir.path(), 10);
    export(dir.path(), &wave_classifier(), &format!("--cut auto {WAVE} --name chirp --normalise peak --calibrate DIR/sounds")).unwrap();
    let (first, folder) = Manifest::load(&dir.path().join("b")).unwrap();
    std::fs::copy(folder.join(&first.variant[0].file), dir.path().join("model.onnx")).unwrap();
    export_file(dir.path(), "--out DIR/again").unwrap();
    let (again, _) = Manifest::load(&dir.path().join("again")).unwrap();
    assert_eq!(again, first);
}

#[test]
fn bands_before_frames_are_transposed_and_positions_are_pooled() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("fe.toml"), FRONT_END).unwrap();
    let mut model = conv_classifier();
    model.graph.as_mut().unwrap().node.truncate(2);
    for (opset, dims) in [(17, ["batch", "1", "12", "10"]), (18, ["batch", "1", "12", "?"])] {
        // 10 frames of 12 bands are wanted as 12 x 10.
        model.opset_import = vec![OperatorSetIdProto { domain: None, version: Some(opset) }];
        let graph = model.graph.as_mut().unwrap();
        graph.input = vec![input("x", &dims)];
        graph.output = vec![input("active", &["batch", "8", "10", "8"])];
        let line = "--cut active --pool mean --front-end DIR/fe.toml --licence MIT --force --out DIR/b";
        export(dir.path(), &model, line).unwrap();
        let (manifest, folder) = Manifest::load(&dir.path().join("b")).unwrap();
        let variant = &manifest.variant[0];
        assert_eq!((variant.input, &variant.input_shape[..]), (GraphInput::Features, &[1, 1, 10, 12][..]));
        assert_eq!(manifest.embedding.dim, 8);

        let frames = check::noise("", &[10, 12], 5).values;
        let bands: Vec<f32> = (0..120).map(|i| frames[(i % 10) * 12 + i / 10]).collect();
        let probe = |bytes: &[u8], name: &str, shape: &[i64], values: &[f32]| {
            let input = Array { name: name.into(), shape: shape.to_vec(), values: values.to_vec() };
            Probe::new(bytes, false).unwrap().run(&[input]).unwrap().remove(0).values
        };
        let maps = probe(&file::encode(&model).unwrap(), "x", &[1, 1, 12, 10], &bands);
        let expected: Vec<f32> = maps.chunks(80).map(|c| c.iter().sum::<f32>() / 80.0).collect();
        let bytes = std::fs::read(folder.join(&variant.file)).unwrap();
        let found = probe(&bytes, &variant.input_name, &[1, 1, 10, 12], &frames);
        let apart = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
        assert!(found.len() == 8 && apart < 1e-5, "{found:?} {expected:?}");
    }
}

const FRONT_END: &str = r#"
[audio]
rate_hz = 8000
window_samples = 1216
hop_samples = 608
[normalise]
kind = "peak"
floor = 0.001
[front_end]
kind = "log-mel"
n_fft = 64
window_length = 64
hop_length = 128
window = "hann-periodic"
power = 2.0
mel_bands = 12
mel_scale = "htk"
mel_norm = "none"
f_min_hz = 0.0
f_max_hz = 4000.0
log = { kind = "ln", add = 0.01 }
[embedding]
scale = "none"
"#;

#[test]
fn features_without_a_front_end_and_features_that_do_not_fit_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (kind, text) = refused(export(dir.path(), &conv_classifier(), &format!("--cut auto {WAVE}")));
    assert!(kind == ErrorKind::Input && text.contains("--front-end FILE.toml"), "{text}");
    std::fs::write(dir.path().join("fe.toml"), FRONT_END.replace("mel_bands = 12", "mel_bands = 24").replace("1216", "576")).unwrap();
    let (kind, text) = refused(export(dir.path(), &conv_classifier(), "--cut auto --front-end DIR/fe.toml --out DIR/b"));
    assert!(kind == ErrorKind::Input && text.contains("5 frames of 24 bands"), "{text}");
    std::fs::write(dir.path().join("fe.toml"), FRONT_END.replace("n_fft", "nfft")).unwrap();
    let (kind, text) = refused(export(dir.path(), &conv_classifier(), "--cut auto --front-end DIR/fe.toml --out DIR/b"));
    assert!(kind == ErrorKind::Config && text.contains("nfft"), "{text}");
}

#[test]
fn models_that_were_never_meant_for_audio_are_named_for_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = conv_classifier();
    model.graph.as_mut().unwrap().input = vec![input("pixels", &["n", "3", "224", "224"])];
    model.graph.as_mut().unwrap().node[0].input[0] = "pixels".into();
    let (kind, text) = refused(export(dir.path(), &model, &format!("--cut auto {WAVE}")));
    assert!(kind == ErrorKind::Input && text.contains("picture") && text.contains("[n, 3, 224, 224]"), "{text}");

    let mut model = mlp_classifier();
    let graph = model.graph.as_mut().unwrap();
    graph.input = vec![with_type(input("input_ids", &["batch", "64"]), DataType::Int64)];
    graph.node.insert(0, crate::onnx::half::cast("input_ids", "x", DataType::Float));
    let (kind, text) = refused(export(dir.path(), &model, &format!("--cut auto {WAVE}")));
    assert!(kind == ErrorKind::Input && text.contains("tokens") && text.contains("input_ids"), "{text}");

    let (kind, text) = refused(export(dir.path(), &no_classifier(), &format!("--cut auto --front-end none {WAVE}")));
    assert!(kind == ErrorKind::Input && text.contains("ended at Mul") && text.contains("--cut y"), "{text}");
    assert!(!dir.path().join("b").exists());
}

#[test]
fn further_inputs_are_set_to_constants_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (kind, text) = refused(export(dir.path(), &if_classifier(), &format!("--cut auto --front-end none {WAVE}")));
    assert!(kind == ErrorKind::Input && text.contains("--set NAME=VALUE") && text.contains("'flag' bool"), "{text}");
    export(dir.path(), &if_classifier(), &format!("--cut auto --set flag=1 --front-end none {WAVE}")).unwrap();
    let (manifest, folder) = Manifest::load(&dir.path().join("b")).unwrap();
    let graph = file::read(&folder.join(&manifest.variant[0].file)).unwrap().graph.unwrap();
    let held: Vec<&str> = graph.initializer.iter().map(|t| t.name()).collect();
    assert_eq!(held, ["offset", "flag"]);
    // An input that only the dropped part reads needs no value.
    let mut model = if_classifier();
    let graph = model.graph.as_mut().unwrap();
    graph.input.push(input("temperature", &["1"]));
    graph.node.push(node("Div", &["p", "temperature"], &["cooler"]));
    export(dir.path(), &model, &format!("--cut chosen --set flag=0 --front-end none --force {WAVE}")).unwrap();
}

#[test]
fn a_free_dimension_is_asked_for_and_taken() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = wave_classifier();
    model.graph.as_mut().unwrap().input = vec![input("samples", &["batch", "length"])];
    let (kind, text) = refused(export(dir.path(), &model, &format!("--cut auto {WAVE}")));
    assert!(kind == ErrorKind::Input && text.contains("--dim length=NUMBER"), "{text}");
    for (option, samples) in [("--dim length=640", 640), ("--input-shape 1,1280", 1280), ("--window-samples 1920", 1920)] {
        export(dir.path(), &model, &format!("--cut auto {option} --force {WAVE}")).unwrap();
        assert_eq!(Manifest::load(&dir.path().join("b")).unwrap().0.audio.window_samples, samples, "{option}");
    }
}

#[test]
fn external_weights_are_embedded() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = wave_classifier();
    let weight = &mut model.graph.as_mut().unwrap().initializer[0];
    std::fs::write(dir.path().join("weights.bin"), weight.raw_data.take().unwrap()).unwrap();
    weight.external_data = vec![StringStringEntryProto { key: Some("location".into()), value: Some("weights.bin".into()) }];
    weight.data_location = Some(DataLocation::External as i32);
    export(dir.path(), &model, &format!("--cut auto {WAVE}")).unwrap();
    std::fs::remove_file(dir.path().join("weights.bin")).unwrap();
    Embedder::open(&dir.path().join("b"), None, &Default::default()).unwrap();
}

#[test]
fn nothing_is_overwritten_without_force_and_nothing_is_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    export(dir.path(), &wave_classifier(), &format!("--cut auto {WAVE}")).unwrap();
    let before = std::fs::read(dir.path().join("b/manifest.toml")).unwrap();
    let (kind, text) = refused(export(dir.path(), &wave_classifier(), &format!("--cut auto {WAVE} --hop-samples 100")));
    assert!(kind == ErrorKind::Storage && text.contains("--force"), "{text}");
    assert_eq!(std::fs::read(dir.path().join("b/manifest.toml")).unwrap(), before);
    export(dir.path(), &wave_classifier(), &format!("--cut auto {WAVE} --hop-samples 100 --force")).unwrap();
    assert_eq!(Manifest::load(&dir.path().join("b")).unwrap().0.audio.hop_samples, 100);
    assert_eq!(std::fs::read_dir(dir.path().join("b")).unwrap().count(), 2);
}

#[test]
fn too_few_sounds_none_and_an_unknown_rate_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    sounds(dir.path(), 3);
    let (kind, text) = refused(export(dir.path(), &wave_classifier(), &format!("--cut auto {WAVE} --calibrate DIR/sounds")));
    assert!(kind == ErrorKind::Learn && text.contains("27"), "{text}");
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    let (kind, _) = refused(export(dir.path(), &wave_classifier(), &format!("--cut auto {WAVE} --calibrate DIR/empty")));
    assert_eq!(kind, ErrorKind::Input);
    let (kind, text) = refused(export(dir.path(), &wave_classifier(), "--cut auto --out DIR/b"));
    assert!(kind == ErrorKind::Config && text.contains("--rate-hz"), "{text}");
    assert!(!dir.path().join("b").exists());
}

#[test]
fn values_that_overflow_f16_stay_f32() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = wave_classifier();
    let graph = model.graph.as_mut().unwrap();
    graph.initializer[0] = TensorProto::from_f32("w1", &[64, 16], &[60000.0; 1024]);
    export(dir.path(), &model, &format!("--cut auto --f16 {WAVE}")).unwrap();
    let graph = file::read(&dir.path().join("b/model-wave-f16.onnx")).unwrap().graph.unwrap();
    let kept: Vec<i32> = graph.initializer.iter().filter(|t| t.name() == "w1").map(|t| t.data_type()).collect();
    assert_eq!(kept, [DataType::Float as i32]);
}

#[test]
fn a_graph_that_draws_random_numbers_fails_the_check() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = wave_classifier();
    let graph = model.graph.as_mut().unwrap();
    graph.node.insert(1, node("RandomNormalLike", &["x"], &["r"]));
    graph.node.insert(2, node("Add", &["x", "r"], &["noisy"]));
    graph.node[3].input[0] = "noisy".into();
    let (kind, text) = refused(export(dir.path(), &model, &format!("--cut auto {WAVE}")));
    assert!(kind == ErrorKind::Mismatch && text.contains("random"), "{text}");
}

#[test]
fn a_cut_graph_that_gives_something_else_is_refused() {
    let original = mlp_classifier();
    let mut whole = original.clone();
    crate::onnx::cut::add_outputs(&mut whole, &["hidden"]);
    let mut other = original;
    crate::onnx::cut::cut(&mut other, "hidden", None).unwrap();
    let compare = |other: &ModelProto| {
        let mut probes = [&whole, other].map(|m| Probe::new(&file::encode(m).unwrap(), false).unwrap());
        let [a, b] = &mut probes;
        let input = check::noise("x", &[1, 64], 1);
        check::compare(a, "hidden", b, "hidden", &[(input.clone(), input)]).unwrap()
    };
    check::accept_cut(&compare(&other)).unwrap();
    let bias = &mut other.graph.as_mut().unwrap().initializer[1];
    let values: Vec<f32> = bias.f32_values().unwrap().iter().map(|v| v + 1e-3).collect();
    *bias = TensorProto::from_f32("b1", &[16], &values);
    let difference = compare(&other);
    assert!(difference.relative > 1e-5 && difference.relative < 1e-2 && difference.cosine < 1.0, "{difference:?}");
    assert_eq!(check::accept_cut(&difference).unwrap_err().kind(), ErrorKind::Mismatch);
}

#[test]
fn every_exported_model_of_the_set_up_is_rewritten_byte_for_byte() {
    let assets = wheatear::backbone::library::assets_folder().expect("target/assets: run `cargo xtask setup`");
    let mut seen = 0;
    for folder in std::fs::read_dir(assets.join("models")).expect("models: run `cargo xtask setup`").flatten() {
        for entry in std::fs::read_dir(folder.path()).unwrap().flatten() {
            if entry.path().extension().is_some_and(|x| x == "onnx") {
                let bytes = std::fs::read(entry.path()).unwrap();
                assert!(file::encode(&file::decode(&bytes).unwrap()).unwrap() == bytes, "{}", entry.path().display());
                seen += 1;
            }
        }
    }
    assert!(seen > 0, "no models: run `cargo xtask setup`");
}

#[test]
fn an_input_passed_through_as_output_is_read_while_it_lives() {
    let mut model = mlp_classifier();
    crate::onnx::cut::add_outputs(&mut model, &["x"]);
    let mut probe = Probe::new(&file::encode(&model).unwrap(), false).unwrap();
    // Large enough for the allocator to give the memory back at once.
    let input = check::noise("x", &[40_000, 64], 1);
    let outputs = probe.run(std::slice::from_ref(&input)).unwrap();
    assert!(outputs.iter().any(|o| o.name == "x" && o.values == input.values));
}

#[test]
fn a_list_shows_measured_shapes_and_says_what_auto_takes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.onnx");
    std::fs::write(&path, file::encode(&wave_classifier()).unwrap()).unwrap();
    let args = Line::parse_from(["export", path.to_str().unwrap()]).args;
    let known = settings::Settings::gather(&args, &Essentials::default()).unwrap();
    let text = inspect::describe(&path, &wave_classifier(), &args, &known).unwrap().to_string();
    assert!(text.contains("* pooled  [1, 16]  2 from the output, made by ReduceMean, feeds Gemm"), "{text}");
    assert!(text.contains("--cut auto takes 'pooled': it feeds Gemm 'make_logits'"), "{text}");
    assert!(text.contains("samples  float32 [batch, 1600]"), "{text}");
}
