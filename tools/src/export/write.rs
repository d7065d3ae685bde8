//! Checks, halves, calibrates and writes a prepared graph: the files of the backbone, all of them or none.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use wheatear::backbone::manifest::{
    EmbeddingSpec, GraphInput, MANIFEST_FILE, MANIFEST_FORMAT, Manifest, Modality, Precision, QuantiserSpec, Variant,
};
use wheatear::backbone::probe::{Array, Probe};
use wheatear::backbone::session::{OrtBackbone, SessionOptions};
use wheatear::{Error, ErrorKind, Result};

use super::Args;
use super::calibrate::{self, Heard};
use super::check::{self, Difference};
use super::prepare::Prepared;
use super::settings::Settings;
use crate::onnx::cut::{Removed, add_outputs};
use crate::onnx::file;
use crate::onnx::half::{self, HalfReport};
use crate::onnx::metadata::Essentials;
use crate::onnx::proto::{DataType, ModelProto};

/// Random inputs that every comparison includes.
const NOISES: u64 = 3;

/// What was exported.
#[derive(Debug, serde::Serialize)]
pub struct Report {
    name: String,
    folder: String,
    tensor: String,
    dim: u32,
    input_name: String,
    input_shape: Vec<i64>,
    window_samples: u32,
    removed: Removed,
    check: Difference,
    f16: Option<Half>,
    calibration: Option<CalibrationReport>,
    files: Vec<WrittenFile>,
    notes: Vec<String>,
}

#[derive(Debug, serde::Serialize)]
struct Half {
    #[serde(flatten)]
    conversion: HalfReport,
    parity: Difference,
}

#[derive(Debug, serde::Serialize)]
struct CalibrationReport {
    files: usize,
    unreadable: usize,
    windows: u64,
    silent_windows: u64,
    dead_dimensions: usize,
    clip_rate: f64,
}

#[derive(Debug, serde::Serialize)]
struct WrittenFile {
    file: String,
    bytes: usize,
    sha256: String,
}

/// Writes the backbone to `out`.
///
/// # Errors
/// Those of the checks; `Storage` when files are there already and `--force` is not given, or as from the file system.
pub fn export(
    original: &ModelProto,
    prepared: Prepared,
    args: &Args,
    known: &Settings,
    essentials: &Essentials,
    out: &Path,
) -> Result<Report> {
    let mut notes = prepared.notes.clone();
    let mut manifest = draft(&prepared, args, known, essentials, &mut notes)?;
    manifest.validate()?;
    refuse_overwriting(out, &manifest, args)?;

    // Without optimisation both graphs run the same kernels on the same numbers: what differs was done by the cut.
    let mut whole = original.clone();
    add_outputs(&mut whole, &[&prepared.tensor]);
    crate::onnx::shape::fix_input(&mut whole, &prepared.bare_input.0, &prepared.bare_input.1);
    let mut whole_probe = Probe::new(&file::encode(&whole)?, false)?;
    let unread: Vec<Array> = other_inputs(&whole_probe, &prepared.bare_input.0);
    if !unread.is_empty() {
        // An input that only the dropped part reads: the original cannot be run without it, so only that part is compared.
        notes.push(format!("inputs that the embedding does not need were dropped: {}", names(&unread)));
        crate::onnx::cut::cut(&mut whole, &prepared.tensor, None)?;
        whole_probe = Probe::new(&file::encode(&whole)?, false)?;
    }
    let mut bare_probe = Probe::new(&file::encode(&prepared.bare)?, false)?;
    // Random operators draw the same numbers in both sessions: one run ahead, and they differ.
    bare_probe.run(&[prepared.bare_values(&check::noise("", &prepared.input_shape, NOISES).values)])?;
    let noises: Vec<Vec<f32>> = (0..NOISES).map(|seed| check::noise("", &prepared.input_shape, seed).values).collect();
    let mut pairs = |inputs: &[Vec<f32>]| {
        let pairs: Vec<(Array, Array)> = inputs.iter().map(|v| (prepared.bare_values(v), prepared.bare_values(v))).collect();
        check::compare(&mut whole_probe, &prepared.tensor, &mut bare_probe, &prepared.tensor, &pairs)
    };
    let mut difference = pairs(&noises)?;
    check::accept_cut(&difference)?;

    let heard = match &args.calibrate {
        Some(folder) => {
            let probe = Probe::new(&file::encode(&prepared.model)?, true)?;
            Some(calibrate::calibrate(folder, &manifest, &prepared, probe)?)
        }
        None => None,
    };
    let real: &[Vec<f32>] = heard.as_ref().map_or(&[], |h| &h.inputs);
    if !real.is_empty() {
        let on_sounds = pairs(real)?;
        check::accept_cut(&on_sounds)?;
        difference = Difference {
            inputs: difference.inputs + on_sounds.inputs,
            relative: difference.relative.max(on_sounds.relative),
            cosine: difference.cosine.min(on_sounds.cosine),
        };
    }
    manifest.quantiser = quantiser(&heard, essentials, prepared.dim(), &mut notes);
    let f16 = if args.f16 { Some(halve(&prepared, if real.is_empty() { &noises } else { real })?) } else { None };

    let mut graphs = vec![prepared.model.clone()];
    graphs.extend(f16.as_ref().map(|(model, _)| model.clone()));
    let essentials = essentials_of(&manifest);
    let mut files = Vec::new();
    for (graph, variant) in graphs.iter_mut().zip(&mut manifest.variant) {
        essentials.write(graph);
        let bytes = file::encode(graph)?;
        variant.sha256 = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        files.push((variant.file.clone(), bytes));
    }
    let f16 = f16.map(|(_, half)| half);
    let text = manifest_text(&manifest, &difference, f16.as_ref())?;
    files.push((MANIFEST_FILE.to_string(), text.into_bytes()));
    write_all(out, &manifest, &files)?;

    Ok(Report {
        name: manifest.name.clone(),
        folder: out.display().to_string(),
        tensor: prepared.tensor.clone(),
        dim: prepared.dim(),
        input_name: prepared.input_name.clone(),
        input_shape: prepared.input_shape.clone(),
        window_samples: prepared.window_samples,
        removed: prepared.removed,
        check: difference,
        f16,
        calibration: heard.map(|h| CalibrationReport {
            files: h.files,
            unreadable: h.unreadable,
            windows: h.calibrated.windows,
            silent_windows: h.silent,
            dead_dimensions: h.calibrated.dead,
            clip_rate: h.calibrated.clip_rate,
        }),
        files: files
            .iter()
            .map(|(name, bytes)| WrittenFile {
                file: name.clone(),
                bytes: bytes.len(),
                sha256: Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect(),
            })
            .collect(),
        notes,
    })
}

/// The manifest but for digests and quantiser.
fn draft(prepared: &Prepared, args: &Args, known: &Settings, essentials: &Essentials, notes: &mut Vec<String>) -> Result<Manifest> {
    let stem = args.model.file_stem().unwrap_or_default().to_string_lossy();
    let plain: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
    let name = args.name.clone().or(essentials.name.clone()).unwrap_or(plain.trim_start_matches('.').to_string());
    let licence = args.licence.clone().or(essentials.licence.clone()).unwrap_or_else(|| {
        notes.push("the licence of the weights is not said: give --licence".into());
        "unknown: ask the author of the weights".into()
    });
    let kind = if prepared.takes == GraphInput::Waveform { "wave" } else { "mel" };
    let variant = |precision: Precision| {
        let number = match precision {
            Precision::F32 => "f32",
            Precision::F16 => "f16",
            Precision::Int8 => "int8",
        };
        Variant {
            name: format!("{kind}-{number}"),
            file: format!("{name}-{kind}-{number}.onnx"),
            sha256: "0".repeat(64),
            precision,
            input: prepared.takes,
            input_name: prepared.input_name.clone(),
            input_shape: prepared.input_shape.iter().map(|n| *n as u32).collect(),
            output_name: prepared.output_name.clone(),
        }
    };
    let precision = precision_of(&prepared.model);
    if args.f16 && precision != Precision::F32 {
        return Err(Error::new(ErrorKind::Input, "the model's weights are not 32-bit floats")
            .found(format!("{precision:?}"))
            .cure("leave --f16 away: the graph is small already"));
    }
    let mut variants = vec![variant(precision)];
    if args.f16 {
        variants.push(variant(Precision::F16));
    }
    Ok(Manifest {
        format: MANIFEST_FORMAT,
        name: name.clone(),
        description: args.description.clone().unwrap_or_default(),
        modality: Modality::Audio,
        licence,
        source: args.source.clone().or(essentials.source.clone()).unwrap_or_default(),
        audio: known.audio(prepared.window_samples)?,
        normalise: known.normalise.clone(),
        front_end: known.front_end.clone(),
        embedding: EmbeddingSpec { dim: prepared.dim(), scale: known.embedding_scale },
        quantiser: None,
        variant: variants,
    })
}

fn precision_of(model: &ModelProto) -> Precision {
    let Some(graph) = &model.graph else { return Precision::F32 };
    let quantised = |op: &str| op.starts_with("QLinear") || op == "DequantizeLinear" || op.ends_with("Integer");
    if graph.node.iter().any(|n| quantised(n.op_type())) {
        return Precision::Int8;
    }
    let count =
        |kind: DataType| graph.initializer.iter().filter(|t| t.data_type() == kind as i32).flat_map(|t| t.dims.iter().max()).sum::<i64>();
    if count(DataType::Float16) > count(DataType::Float) { Precision::F16 } else { Precision::F32 }
}

fn quantiser(heard: &Option<Heard>, essentials: &Essentials, dim: u32, notes: &mut Vec<String>) -> Option<QuantiserSpec> {
    match (heard, &essentials.quantiser) {
        (Some(heard), _) => Some(heard.calibrated.quantiser.clone()),
        (None, Some(known)) if known.scale.len() == dim as usize => Some(known.clone()),
        (None, _) => {
            notes.push(
                "there is no quantiser yet, so this backbone cannot teach or classify: export it again with --calibrate FOLDER".into(),
            );
            None
        }
    }
}

/// Converts to f16 and measures how far the result is from f32.
fn halve(prepared: &Prepared, inputs: &[Vec<f32>]) -> Result<(ModelProto, Half)> {
    let mut typed = prepared.model.clone();
    let all: Vec<String> = typed.graph.iter().flat_map(|g| &g.node).flat_map(|n| &n.output).filter(|n| !n.is_empty()).cloned().collect();
    add_outputs(&mut typed, &all.iter().map(String::as_str).collect::<Vec<_>>());
    let mut probe = Probe::new(&file::encode(&typed)?, false)?;
    let mut largest: HashMap<String, f32> = HashMap::new();
    for input in inputs {
        for array in probe.run(&[prepared.values(input)])? {
            let value = array.values.iter().fold(0f32, |m, v| m.max(v.abs()));
            let known = largest.entry(array.name).or_default();
            *known = known.max(value);
        }
    }
    let ends = probe.outputs().into_iter().chain(probe.inputs());
    let kinds: HashMap<String, i32> = ends.filter_map(|o| Some((o.name, o.element?))).collect();
    let mut halved = prepared.model.clone();
    let conversion = half::convert(&mut halved, &kinds, &largest)?;
    let mut full = Probe::new(&file::encode(&prepared.model)?, true)?;
    let mut half = Probe::new(&file::encode(&halved)?, true)?;
    let pairs: Vec<(Array, Array)> = inputs.iter().map(|v| (prepared.values(v), prepared.values(v))).collect();
    let name = &prepared.output_name;
    let parity = check::compare(&mut full, name, &mut half, name, &pairs).map_err(|e| match e.kind() {
        ErrorKind::Backbone => e.cure("values of this model go beyond what 16-bit floats hold: export it without --f16"),
        _ => e,
    })?;
    if parity.cosine < 0.999 {
        log::warn!("the f16 variant is far from f32 (cosine {:.5}): measure it on your task before using it", parity.cosine);
    }
    Ok((halved, Half { conversion, parity }))
}

fn essentials_of(manifest: &Manifest) -> Essentials {
    Essentials {
        name: Some(manifest.name.clone()),
        licence: Some(manifest.licence.clone()),
        source: Some(manifest.source.clone()),
        audio: Some(manifest.audio.clone()),
        normalise: Some(manifest.normalise.clone()),
        front_end: Some(manifest.front_end.clone()),
        embedding: Some(manifest.embedding.clone()),
        quantiser: manifest.quantiser.clone(),
    }
}

fn manifest_text(manifest: &Manifest, difference: &Difference, f16: Option<&Half>) -> Result<String> {
    let body = toml::to_string(manifest).map_err(|e| Error::new(ErrorKind::Config, "the manifest cannot be written").because(e))?;
    let mut text = String::from("# Written by `wheatear export`.\n");
    text += &format!(
        "# Cut graph against the original, {} inputs: largest relative difference {:.1e}.\n",
        difference.inputs, difference.relative
    );
    if let Some(half) = f16 {
        let p = &half.parity;
        text += &format!(
            "# f16 against f32, {} inputs: largest relative difference {:.1e}, smallest cosine {:.6}.\n",
            p.inputs, p.relative, p.cosine
        );
    }
    text.push('\n');
    text += &body;
    Manifest::parse(&text)?;
    Ok(text)
}

fn refuse_overwriting(out: &Path, manifest: &Manifest, args: &Args) -> Result<()> {
    let files = manifest.variant.iter().map(|v| v.file.as_str()).chain([MANIFEST_FILE]);
    match files.map(|f| out.join(f)).find(|p| p.exists()) {
        Some(there) if !args.force => Err(Error::new(ErrorKind::Storage, "a file is there already")
            .at(there.display())
            .cure("give another --out, or --force to replace it (adapters taught on it then no longer fit)")),
        _ => Ok(()),
    }
}

/// Writes the files beside their places, loads them as a device would, then moves them in; the manifest comes last.
fn write_all(out: &Path, manifest: &Manifest, files: &[(String, Vec<u8>)]) -> Result<()> {
    std::fs::create_dir_all(out).map_err(|e| Error::io("make the folder", out, e))?;
    let staging = Staging::new(out)?;
    for (name, bytes) in files {
        file::write_atomically(&staging.0.join(name), bytes)?;
    }
    for variant in &manifest.variant {
        OrtBackbone::load(manifest, &staging.0, Some(&variant.name), &SessionOptions::default())?;
    }
    for (name, _) in files {
        let to = out.join(name);
        std::fs::rename(staging.0.join(name), &to).map_err(|e| Error::io("write", &to, e))?;
    }
    Ok(())
}

/// A folder inside the backbone's that is gone afterwards, whatever happens.
struct Staging(PathBuf);

impl Staging {
    fn new(out: &Path) -> Result<Staging> {
        let folder = out.join(format!(".export-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|e| Error::io("make a temporary folder", &folder, e))?;
        Ok(Staging(folder))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn other_inputs(probe: &Probe, name: &str) -> Vec<Array> {
    let others = probe.inputs().into_iter().filter(|i| i.name != name);
    others.map(|i| Array { name: i.name, shape: i.shape, values: Vec::new() }).collect()
}

fn names(arrays: &[Array]) -> String {
    arrays.iter().map(|a| a.name.as_str()).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: embedding '{}' of {} values, window of {} samples", self.name, self.tensor, self.dim, self.window_samples)?;
        let r = &self.removed;
        writeln!(f, "removed: {} operators, {} weights, {} inputs, {} functions", r.nodes, r.initializers, r.inputs, r.functions)?;
        writeln!(f, "cut against original, {} inputs: largest relative difference {:.1e}", self.check.inputs, self.check.relative)?;
        if let Some(half) = &self.f16 {
            let (c, p) = (&half.conversion, &half.parity);
            writeln!(f, "f16: {} operators converted, {} weights", c.half_nodes, c.half_weights)?;
            let kept: Vec<String> = c.float_nodes.iter().map(|(op, n)| format!("{n} {op}")).collect();
            if !kept.is_empty() {
                writeln!(f, "f16: stayed f32: {}", kept.join(", "))?;
            }
            for (name, largest) in &c.too_large {
                writeln!(f, "f16: '{name}' reaches {largest}, too large for f16: what touches it stayed f32")?;
            }
            if c.flushed_to_zero > 0 {
                writeln!(f, "f16: {} weights are too small and became 0", c.flushed_to_zero)?;
            }
            writeln!(
                f,
                "f16 against f32, {} inputs: largest relative difference {:.1e}, smallest cosine {:.6}",
                p.inputs, p.relative, p.cosine
            )?;
        }
        if let Some(c) = &self.calibration {
            writeln!(
                f,
                "calibrated on {} windows of {} sounds ({} silent windows and {} unreadable sounds left out): {} dead dimensions, {:.4} % clipped",
                c.windows,
                c.files,
                c.silent_windows,
                c.unreadable,
                c.dead_dimensions,
                100.0 * c.clip_rate
            )?;
        }
        for file in &self.files {
            writeln!(f, "{}/{}  {} bytes", self.folder, file.file, file.bytes)?;
        }
        self.notes.iter().try_for_each(|n| writeln!(f, "note: {n}"))
    }
}
