//! From a model and a tensor to a graph with one audio input and one embedding output.

use wheatear::backbone::manifest::{FrontEndSpec, GraphInput};
use wheatear::backbone::probe::{Array, Probe};
use wheatear::{Error, ErrorKind, Result};

use super::settings::Settings;
use super::{Args, Pool, check};
use crate::onnx::cut::{self, Removed};
use crate::onnx::file;
use crate::onnx::graph::{Index, tensor_type};
use crate::onnx::half::cast;
use crate::onnx::proto::{AttributeProto, AttributeType, DataType, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use crate::onnx::shape::{self, Dim, Shape};
use crate::onnx::tensor::type_name;

/// Largest embedding that a manifest allows.
const MAX_DIM: i64 = 8192;

/// A graph ready to be a backbone.
#[derive(Debug)]
pub struct Prepared {
    /// The graph.
    pub model: ModelProto,
    /// The graph before its ends were adapted, to be compared with the original.
    pub bare: ModelProto,
    /// Input of the bare graph: name and shape of one window.
    pub bare_input: (String, Vec<i64>),
    /// Axes of the bare input that were swapped to take frame after frame.
    pub swapped: Option<(usize, usize)>,
    /// The tensor cut at.
    pub tensor: String,
    /// What the cut removed.
    pub removed: Removed,
    /// What the graph takes.
    pub takes: GraphInput,
    /// Its input.
    pub input_name: String,
    /// Shape of one window.
    pub input_shape: Vec<i64>,
    /// Its output.
    pub output_name: String,
    /// Shape of its output.
    pub output_shape: Vec<i64>,
    /// Samples of one window.
    pub window_samples: u32,
    /// What a person should know.
    pub notes: Vec<String>,
}

impl Prepared {
    /// Components of the embedding.
    pub fn dim(&self) -> u32 {
        self.output_shape.iter().product::<i64>() as u32
    }

    /// What the bare graph takes, from what the final graph takes.
    pub fn bare_values(&self, values: &[f32]) -> Array {
        let (name, shape) = &self.bare_input;
        let values = match self.swapped {
            None => values.to_vec(),
            Some((i, j)) => {
                let (rows, columns) = (shape[j] as usize, shape[i] as usize);
                (0..columns).flat_map(|c| (0..rows).map(move |r| values[r * columns + c])).collect()
            }
        };
        Array { name: name.clone(), shape: shape.clone(), values }
    }

    /// An input of the final graph.
    pub fn values(&self, values: &[f32]) -> Array {
        Array { name: self.input_name.clone(), shape: self.input_shape.clone(), values: values.to_vec() }
    }
}

/// Turns inputs into constants, as `--set` asks.
///
/// # Errors
/// `Input` for an unknown input or a type that cannot be set.
pub fn set_inputs(model: &mut ModelProto, sets: &[(String, f64)]) -> Result<()> {
    for (name, value) in sets {
        let wrong = |what: &str| Error::new(ErrorKind::Input, what).at(format!("--set {name}"));
        let graph = model.graph.as_mut().ok_or_else(|| wrong("the model holds no graph"))?;
        let input = graph.input.iter().find(|i| i.name() == name).ok_or_else(|| wrong("the model has no such input"))?;
        let dims: Vec<i64> = shape::dims(input).unwrap_or_default().iter().map(|d| if let Dim::Fixed(n) = d { *n } else { 1 }).collect();
        let count = dims.iter().try_fold(1i64, |n, d| n.checked_mul(*d)).filter(|n| *n <= 1 << 24);
        let count = count.ok_or_else(|| wrong("the input is too large to be set to a constant"))? as usize;
        let kind = tensor_type(input).map_or(0, |t| t.elem_type());
        let tensor = match DataType::try_from(kind) {
            Ok(DataType::Float) => TensorProto::from_f32(name, &dims, &vec![*value as f32; count]),
            Ok(DataType::Int64) => TensorProto::from_i64(name, &dims, &vec![*value as i64; count]),
            Ok(DataType::Int32 | DataType::Bool) => {
                let value = if kind == DataType::Bool as i32 { i32::from(*value != 0.0) } else { *value as i32 };
                TensorProto {
                    name: Some(name.clone()),
                    dims,
                    data_type: Some(kind),
                    int32_data: vec![value; count],
                    ..TensorProto::default()
                }
            }
            _ => return Err(wrong("an input of this type cannot be set").found(type_name(kind))),
        };
        graph.input.retain(|i| i.name() != name);
        graph.initializer.push(tensor);
    }
    Ok(())
}

/// Cuts `model` at `tensor`, fixes its input to one window and adapts its ends.
///
/// # Errors
/// `Input` when the model has no such tensor, or cannot be fed with windows of sound; `Missing` without ONNX Runtime.
pub fn prepare(model: &ModelProto, tensor: &str, args: &Args, known: &Settings) -> Result<Prepared> {
    let mut bare = model.clone();
    let removed = cut::cut(&mut bare, tensor, None)?;
    let input = audio_input(&bare, tensor)?;
    refuse_other_modalities(&input, known)?;
    let bare_shape = shape::resolve(&input, args.input_shape.as_deref(), &args.dims, known.values())?;
    shape::fix_input(&mut bare, input.name(), &bare_shape);
    let mut notes = Vec::new();

    let mut probe = Probe::new(&file::encode(&bare)?, false)?;
    let kind = probe.outputs().first().and_then(|o| o.element).unwrap_or(0);
    if ![DataType::Float, DataType::Float16, DataType::Double].iter().any(|k| *k as i32 == kind) {
        return Err(Error::new(ErrorKind::Input, "the tensor holds no floating-point numbers")
            .at(format!("'{tensor}'"))
            .found(type_name(kind))
            .cure("choose another one that --list prints"));
    }
    let measured = probe.run(&[check::noise(input.name(), &bare_shape, 1)])?;
    let Some(measured) = measured.into_iter().next() else {
        return Err(Error::new(ErrorKind::Input, "the tensor does not hold numbers").at(format!("'{tensor}'")));
    };
    set_output_type(&mut bare, tensor, kind, &measured.shape);

    let (takes, swapped) = layout(&known.front_end, known.window_samples, &bare_shape, input.name())?;
    let mut ready = bare.clone();
    let mut ends = Ends { input_name: input.name().to_string(), output_name: tensor.to_string(), output_shape: measured.shape };
    let input_shape = adapt_input(&mut ready, &mut ends, &input, &bare_shape, swapped);
    if let Some(pool) = args.pool {
        adapt_pool(&mut ready, &mut ends, pool, args.pool_axes.as_deref(), kind)?;
    }
    if kind == DataType::Double as i32 {
        adapt_double(&mut ready, &mut ends);
    }
    let dim = ends.output_shape.iter().product::<i64>();
    let positions = ends.output_shape.iter().filter(|n| **n > 1).count() > 1;
    if !(1..=MAX_DIM).contains(&dim) {
        return Err(Error::new(ErrorKind::Input, "the tensor is too large for an embedding")
            .at(format!("'{tensor}'"))
            .expected(format!("1 to {MAX_DIM} values"))
            .found(format!("{:?} = {dim} values", ends.output_shape))
            .cure("reduce its positions with --pool mean (--pool-axes says which they are), or choose another tensor"));
    }
    if positions {
        notes.push(format!(
            "the embedding {:?} has positions: --pool mean would make it smaller and less dependent on timing",
            ends.output_shape
        ));
    }
    if swapped.is_some() {
        notes.push("the model takes bands before frames: a transposition was put in front".into());
    }
    let window = match takes {
        GraphInput::Waveform => bare_shape.iter().product::<i64>() as u32,
        GraphInput::Features => known.window_samples.unwrap_or(0),
    };
    Ok(Prepared {
        model: ready,
        bare,
        bare_input: (input.name().to_string(), bare_shape),
        swapped,
        tensor: tensor.to_string(),
        removed,
        takes,
        input_name: ends.input_name,
        input_shape,
        output_name: ends.output_name,
        output_shape: ends.output_shape,
        window_samples: window,
        notes,
    })
}

struct Ends {
    input_name: String,
    output_name: String,
    output_shape: Vec<i64>,
}

/// The one input that the cut graph reads, if it can be fed with sound.
fn audio_input(model: &ModelProto, tensor: &str) -> Result<ValueInfoProto> {
    let inputs: Vec<ValueInfoProto> =
        model.graph.iter().flat_map(|g| Index::new(g).free_inputs().into_iter().cloned().collect::<Vec<_>>()).collect();
    let show = |v: &ValueInfoProto| {
        let kind = tensor_type(v).map_or("no tensor".into(), |t| type_name(t.elem_type()));
        format!("'{}' {kind} {}", v.name(), shape::dims(v).map_or("of unstated shape".into(), |d| Shape(&d).to_string()))
    };
    let input = match &inputs[..] {
        [] => {
            return Err(Error::new(ErrorKind::Input, "the tensor depends on no input of the model")
                .at(format!("'{tensor}'"))
                .cure("choose another one that --list prints"));
        }
        [one] => one,
        several => {
            return Err(Error::new(ErrorKind::Input, "the model needs several inputs, and a backbone has one")
                .found(several.iter().map(show).collect::<Vec<_>>().join("; "))
                .cure("make all but the sound constant: --set NAME=VALUE (a rate, a flag, a state of zeros)"));
        }
    };
    match tensor_type(input).map(|t| t.elem_type()) {
        Some(k) if [DataType::Float, DataType::Float16, DataType::Double].iter().any(|d| *d as i32 == k) => Ok(input.clone()),
        Some(k) if k == DataType::Int64 as i32 || k == DataType::Int32 as i32 || k == DataType::String as i32 => {
            Err(Error::new(ErrorKind::Input, "the model takes whole numbers or text, as language models take tokens")
                .found(show(input))
                .cure("Wheatear feeds a backbone with sound; use an audio model whose input is float32 samples or features"))
        }
        _ => Err(Error::new(ErrorKind::Input, "the model's input cannot be fed with sound")
            .expected("a float32, float16 or float64 tensor")
            .found(show(input))
            .cure("convert the model to take float32, for instance by exporting it before quantisation")),
    }
}

/// Says what a model that was not made for audio, or for another front end, was found to take.
fn refuse_other_modalities(input: &ValueInfoProto, known: &Settings) -> Result<()> {
    if known.front_end_given {
        return Ok(());
    }
    let Some(dims) = shape::dims(input) else { return Ok(()) };
    let fixed = |d: Option<&Dim>| if let Some(Dim::Fixed(n)) = d { *n } else { 0 };
    let colours = dims.len() == 4 && (fixed(dims.get(1)) == 3 || fixed(dims.get(3)) == 3);
    if colours {
        return Err(Error::new(ErrorKind::Input, "the model's input looks like a colour picture, and Wheatear feeds it with sound")
            .found(format!("'{}' {}", input.name(), Shape(&dims)))
            .cure("pictures are not supported yet; if it takes three spectrograms, wrap it to take one before exporting it"));
    }
    let batch = |i: usize, d: &Dim| i == 0 && matches!(d, Dim::Free(_));
    let wide = dims.iter().enumerate().filter(|(i, d)| **d != Dim::Fixed(1) && !batch(*i, d)).count();
    if wide > 1 {
        return Err(Error::new(ErrorKind::Input, "the model takes features, and it is not said how they are made from sound")
            .found(format!("'{}' {}", input.name(), Shape(&dims)))
            .cure("describe the features with --front-end FILE.toml (see --help); if they are plain samples, give --front-end none"));
    }
    Ok(())
}

/// Whether the graph takes samples or features, and the axes to swap when it takes bands before frames.
fn layout(front_end: &FrontEndSpec, window: Option<u32>, shape: &[i64], name: &str) -> Result<(GraphInput, Option<(usize, usize)>)> {
    let FrontEndSpec::LogMel(mel) = front_end else { return Ok((GraphInput::Waveform, None)) };
    let frames = if mel.hop_length > 0 { mel.frames(window.unwrap_or(0) as usize) as i64 } else { 0 };
    let bands = i64::from(mel.mel_bands);
    let wide: Vec<usize> = (0..shape.len()).filter(|i| shape[*i] != 1).collect();
    let sizes: Vec<i64> = wide.iter().map(|i| shape[*i]).collect();
    match sizes[..] {
        [a, b] if (a, b) == (frames, bands) => Ok((GraphInput::Features, None)),
        [a, b] if (a, b) == (bands, frames) => Ok((GraphInput::Features, Some((wide[0], wide[1])))),
        [n] if n == frames * bands => Ok((GraphInput::Features, None)),
        _ => Err(Error::new(ErrorKind::Input, "the model's input does not take the features")
            .at(format!("input '{name}'"))
            .expected(format!("{frames} frames of {bands} bands, in this order or the other"))
            .found(format!("{shape:?}"))
            .cure("correct --front-end FILE.toml, --window-samples or --input-shape")),
    }
}

/// Puts a transposition and a cast in front as needed; returns the new input's shape.
fn adapt_input(model: &mut ModelProto, ends: &mut Ends, input: &ValueInfoProto, bare: &[i64], swapped: Option<(usize, usize)>) -> Vec<i64> {
    let double = tensor_type(input).is_some_and(|t| t.elem_type() == DataType::Double as i32);
    let kind = tensor_type(input).map_or(0, |t| if double { DataType::Float as i32 } else { t.elem_type() });
    let mut shape = bare.to_vec();
    let Some(graph) = &mut model.graph else { return shape };
    let mut nodes = Vec::new();
    let mut name = input.name().to_string();
    if double {
        let from = unused(graph, &format!("{name}/f32"));
        nodes.insert(0, cast(&from, &name, DataType::Double));
        name = from;
    }
    if let Some((i, j)) = swapped {
        let from = unused(graph, &format!("{name}/frames"));
        let mut perm: Vec<i64> = (0..shape.len() as i64).collect();
        perm.swap(i, j);
        shape.swap(i, j);
        nodes.insert(0, node("Transpose", &[&from], &name, vec![ints("perm", perm)]));
        name = from;
    }
    if !nodes.is_empty() {
        graph.input.retain(|i| i.name() != input.name());
        graph.input.push(shape::value_info(&name, kind, &shape));
        graph.node.splice(0..0, nodes);
    }
    ends.input_name = name;
    shape
}

/// Reduces positions.
fn adapt_pool(model: &mut ModelProto, ends: &mut Ends, pool: Pool, axes: Option<&[i64]>, kind: i32) -> Result<()> {
    let rank = ends.output_shape.len() as i64;
    let axes: Vec<i64> = axes.map_or_else(|| (2..rank).collect(), <[i64]>::to_vec);
    if axes.is_empty() || axes.iter().any(|a| !(0..rank).contains(a)) {
        return Err(Error::new(ErrorKind::Input, "the embedding has no such positions to pool over")
            .found(format!("shape {:?}, axes {axes:?}", ends.output_shape))
            .cure("leave --pool away, or say the axes of the positions with --pool-axes"));
    }
    let opset = model.opset_import.iter().find(|o| matches!(o.domain(), "" | "ai.onnx")).map_or(0, |o| o.version());
    let Some(graph) = &mut model.graph else { return Ok(()) };
    let to = unused(graph, &format!("{}/pooled", ends.output_name));
    let op = if pool == Pool::Mean { "ReduceMean" } else { "ReduceMax" };
    let reduce = if opset >= 18 {
        let name = unused(graph, &format!("{to}/axes"));
        graph.initializer.push(TensorProto::from_i64(&name, &[axes.len() as i64], &axes));
        node(op, &[&ends.output_name, &name], &to, vec![])
    } else {
        node(op, &[&ends.output_name], &to, vec![ints("axes", axes.clone())])
    };
    graph.node.push(reduce);
    axes.iter().for_each(|a| ends.output_shape[*a as usize] = 1);
    ends.output_name = to;
    set_output_type(model, &ends.output_name, kind, &ends.output_shape);
    Ok(())
}

fn adapt_double(model: &mut ModelProto, ends: &mut Ends) {
    let Some(graph) = &mut model.graph else { return };
    let to = unused(graph, &format!("{}/f32", ends.output_name));
    graph.node.push(cast(&ends.output_name, &to, DataType::Float));
    ends.output_name = to;
    set_output_type(model, &ends.output_name, DataType::Float as i32, &ends.output_shape);
}

fn set_output_type(model: &mut ModelProto, name: &str, kind: i32, dims: &[i64]) {
    if let Some(graph) = &mut model.graph {
        graph.output = vec![shape::value_info(name, kind, dims)];
    }
}

fn unused(graph: &crate::onnx::proto::GraphProto, name: &str) -> String {
    let mut name = name.to_string();
    let index = Index::new(graph);
    while index.defines(&name) || index.is_constant(&name) {
        name.push('_');
    }
    name
}

fn node(op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: Some(op.into()),
        name: Some(format!("make {output}")),
        input: inputs.iter().map(|s| s.to_string()).collect(),
        output: vec![output.into()],
        attribute,
        ..NodeProto::default()
    }
}

fn ints(name: &str, ints: Vec<i64>) -> AttributeProto {
    AttributeProto { name: Some(name.into()), ints, r#type: Some(AttributeType::Ints as i32), ..AttributeProto::default() }
}
