//! What is in a model: inputs, outputs, and the tensors that could serve as embedding.

use serde::Serialize as _;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use wheatear::backbone::probe::{Array, Probe, ValueDescription};
use wheatear::{Error, ErrorKind, Result};

use super::settings::Settings;
use super::{Args, check};
use crate::onnx::graph::{Index, tensor_type};
use crate::onnx::proto::{DataType, ModelProto, ValueInfoProto};
use crate::onnx::shape::{self, Dim, Shape};
use crate::onnx::tensor::type_name;
use crate::onnx::{cut, file};

/// Tensors that are listed at most, and looked at to find them.
const LISTED: usize = 12;
const LOOKED_AT: usize = 96;

/// A model for people and programs.
#[derive(Debug, serde::Serialize)]
pub struct Description {
    file: String,
    bytes: usize,
    producer: String,
    opset: Vec<String>,
    nodes: usize,
    weights: usize,
    inputs: Vec<Value>,
    outputs: Vec<Value>,
    /// Whether the shapes of the candidates were measured by running the model, and if not, why.
    #[serde(serialize_with = "or_why_not")]
    measured: std::result::Result<(), String>,
    candidates: Vec<Candidate>,
    #[serde(serialize_with = "or_why_not")]
    auto: std::result::Result<Auto, String>,
}

/// The value, or an object that says why there is none.
fn or_why_not<T: serde::Serialize, S: serde::Serializer>(
    value: &std::result::Result<T, String>,
    out: S,
) -> std::result::Result<S::Ok, S::Error> {
    match value {
        Ok(value) => value.serialize(out),
        Err(why) => std::collections::BTreeMap::from([("why_not", why)]).serialize(out),
    }
}

#[derive(Debug, serde::Serialize)]
struct Value {
    name: String,
    r#type: String,
    shape: Option<Vec<Dim>>,
}

/// A tensor that could be the embedding.
#[derive(Debug, serde::Serialize)]
struct Candidate {
    tensor: String,
    made_by: String,
    feeds: Vec<String>,
    /// Operators between it and the output.
    distance: usize,
    shape: Option<Vec<Dim>>,
}

/// What `--cut auto` takes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Auto {
    /// The tensor.
    pub tensor: String,
    /// Why.
    pub why: String,
}

/// What feeds the last classifier layer before the model's output, or before `output` when given.
///
/// # Errors
/// `Input` when there is none, or when the outputs lead to different ones.
pub fn auto(model: &ModelProto, output: Option<&str>) -> Result<Auto> {
    let Some(graph) = &model.graph else { return Err(Error::new(ErrorKind::Input, "the model holds no graph")) };
    let index = Index::new(graph);
    let outputs: Vec<&str> = graph.output.iter().map(|o| o.name()).filter(|n| output.is_none_or(|o| o == *n)).collect();
    if outputs.is_empty() {
        return Err(Error::new(ErrorKind::Input, "the model has no such output").at(output.unwrap_or("")).cure("see --list"));
    }
    let mut found: Vec<Auto> = Vec::new();
    let mut ends = Vec::new();
    for name in outputs {
        match index.classifier(name) {
            Ok(c) if found.iter().all(|f| f.tensor != c.feeds) => {
                let layer = if c.layer.name().is_empty() { String::new() } else { format!(" '{}'", c.layer.name()) };
                let why = format!("it feeds {}{layer}, the last weighted layer before output '{name}'", c.layer.op_type());
                found.push(Auto { tensor: c.feeds.to_string(), why });
            }
            Ok(_) => {}
            Err(e) => ends.push(match e.op {
                Some(op) => format!("walking back from output '{name}' ended at {op}, which makes '{}'", e.tensor),
                None => format!("walking back from output '{name}' ended at the input '{}'", e.tensor),
            }),
        }
    }
    match &found[..] {
        [one] => Ok(one.clone()),
        [] => Err(Error::new(ErrorKind::Input, "no classifier layer was found").found(ends.join("; ")).cure(format!(
            "if the output is an embedding already, give --cut {}; else choose a tensor that --list prints",
            graph.output.first().map_or("OUTPUT", |o| o.name())
        ))),
        several => Err(Error::new(ErrorKind::Input, "the model's outputs come from different classifier layers")
            .found(several.iter().map(|a| format!("'{}' ({})", a.tensor, a.why)).collect::<Vec<_>>().join("; "))
            .cure("choose one: --output NAME or --cut TENSOR")),
    }
}

/// Describes `model`, which was read from `path`.
///
/// # Errors
/// `Input` when it holds no graph.
pub fn describe(path: &Path, model: &ModelProto, args: &Args, known: &Settings) -> Result<Description> {
    let Some(graph) = &model.graph else { return Err(Error::new(ErrorKind::Input, "the model holds no graph")) };
    let index = Index::new(graph);
    let auto = auto(model, args.output.as_deref());
    let output = args.output.as_deref().and_then(|n| graph.output.iter().find(|o| o.name() == n)).or(graph.output.first());
    let mut near: Vec<(&str, usize)> = output.map_or(Vec::new(), |o| index.upstream(o.name(), LOOKED_AT));
    if let Ok(auto) = &auto
        && near.iter().all(|(n, _)| *n != auto.tensor)
        && let Some((_, node)) = index.producer(&auto.tensor)
        && let Some(name) = node.output.iter().find(|n| **n == auto.tensor)
    {
        near.push((name, near.len()));
    }
    let names: Vec<&str> = near.iter().map(|(n, _)| *n).filter(|n| index.producer(n).is_some()).collect();
    let (kinds, shapes, measured) = measure(model, &names, args, known);
    let stated: HashMap<&str, Vec<Dim>> =
        graph.value_info.iter().chain(&graph.output).filter_map(|v| Some((v.name(), shape::dims(v)?))).collect();
    let mut readers: HashMap<&str, Vec<String>> = HashMap::new();
    for node in &graph.node {
        node.reads().into_iter().for_each(|n| readers.entry(n).or_default().push(node.op_type().to_string()));
    }
    let mut candidates = Vec::new();
    for (name, distance) in near {
        let Some((_, node)) = index.producer(name) else { continue };
        let shape = shapes.get(name).or(stated.get(name)).cloned();
        let is_auto = auto.as_ref().is_ok_and(|a| a.tensor == name);
        let float = kinds.get(name).is_none_or(|k| *k == DataType::Float as i32 || *k == DataType::Float16 as i32);
        let values = shape.as_ref().and_then(|s| shape::product(s));
        let sensible = float && values.is_none_or(|n| (8..=8192).contains(&n));
        if is_auto || (sensible && candidates.len() < LISTED) {
            candidates.push(Candidate {
                tensor: name.to_string(),
                made_by: node.op_type().to_string(),
                feeds: readers.get(name).cloned().unwrap_or_default(),
                distance,
                shape,
            });
        }
    }
    let value = |v: &ValueInfoProto| Value {
        name: v.name().to_string(),
        r#type: tensor_type(v).map_or("no tensor".into(), |t| type_name(t.elem_type())),
        shape: shape::dims(v),
    };
    Ok(Description {
        file: path.display().to_string(),
        bytes: prost::Message::encoded_len(model),
        producer: format!("{} {}", model.producer_name(), model.producer_version()).trim().to_string(),
        opset: model
            .opset_import
            .iter()
            .map(|o| format!("{} {}", if o.domain().is_empty() { "ai.onnx" } else { o.domain() }, o.version()))
            .collect(),
        nodes: graph.node.len(),
        weights: graph.initializer.len(),
        inputs: index.free_inputs().into_iter().map(value).collect(),
        outputs: graph.output.iter().map(value).collect(),
        measured,
        candidates,
        auto: auto.map_err(|e| e.to_string()),
    })
}

type Measured = (HashMap<String, i32>, HashMap<String, Vec<Dim>>, std::result::Result<(), String>);

/// Element types of `tensors` by ONNX Runtime's inference, and shapes by running the model on noise.
fn measure(model: &ModelProto, tensors: &[&str], args: &Args, known: &Settings) -> Measured {
    let mut kinds = HashMap::new();
    let mut shapes = HashMap::new();
    let mut attempt = || -> Result<()> {
        let mut all = model.clone();
        cut::add_outputs(&mut all, tensors);
        let mut probe = Probe::new(&file::encode(&all)?, false)?;
        for ValueDescription { name, element, shape } in probe.outputs() {
            if let Some(element) = element {
                kinds.insert(name.clone(), element);
                shapes.insert(name, shape.iter().map(|n| if *n > 0 { Dim::Fixed(*n) } else { Dim::Free(String::new()) }).collect());
            }
        }
        let Some(graph) = &model.graph else { return Ok(()) };
        let inputs = Index::new(graph).free_inputs();
        let values = if inputs.len() == 1 { known.values() } else { None };
        let inputs: Vec<Array> = inputs
            .into_iter()
            .map(|i| {
                let shape = shape::resolve(
                    i,
                    args.input_shape.as_deref().filter(|_| values.is_some() || graph.input.len() == 1),
                    &args.dims,
                    values,
                )?;
                Ok(check::noise(i.name(), &shape, 1))
            })
            .collect::<Result<_>>()?;
        for array in probe.run(&inputs)? {
            shapes.insert(array.name, array.shape.iter().map(|n| Dim::Fixed(*n)).collect());
        }
        Ok(())
    };
    let measured = attempt().map_err(|e| e.to_string());
    (kinds, shapes, measured)
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} bytes, {} operators, {} weights", self.file, self.bytes, self.nodes, self.weights)?;
        writeln!(f, "opset {}; made by {}", self.opset.join(", "), if self.producer.is_empty() { "unknown" } else { &self.producer })?;
        let show = |shape: &Option<Vec<Dim>>| shape.as_ref().map_or("shape not stated".into(), |s| Shape(s).to_string());
        for (title, values) in [("inputs", &self.inputs), ("outputs", &self.outputs)] {
            writeln!(f, "{title}:")?;
            for v in values {
                writeln!(f, "  {}  {} {}", v.name, v.r#type, show(&v.shape))?;
            }
        }
        writeln!(f, "candidates for the embedding, nearest to the output first:")?;
        let width = self.candidates.iter().map(|c| c.tensor.chars().count()).max().unwrap_or(0).min(60);
        for c in &self.candidates {
            let chosen = if self.auto.as_ref().is_ok_and(|a| a.tensor == c.tensor) { "*" } else { " " };
            let feeds = if c.feeds.is_empty() { "the output".into() } else { c.feeds.join(", ") };
            writeln!(
                f,
                "{chosen} {:width$}  {}  {} from the output, made by {}, feeds {feeds}",
                c.tensor,
                show(&c.shape),
                c.distance,
                c.made_by
            )?;
        }
        if let Err(why) = &self.measured {
            writeln!(f, "shapes were not measured: {why}")?;
        }
        match &self.auto {
            Ok(auto) => writeln!(f, "--cut auto takes '{}': {}", auto.tensor, auto.why),
            Err(why) => writeln!(f, "--cut auto: {why}"),
        }
    }
}
