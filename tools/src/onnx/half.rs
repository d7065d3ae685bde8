//! Converting a graph to 16-bit floats: weights and arithmetic, with casts where a value needs 32.
//!
//! Only operators on [`HALF_OPERATORS`] are converted. Everything else stays in f32, because its result depends on more
//! than eleven bits or on more than five of exponent: logarithms, powers, roots, divisions, sums over many values,
//! normalisations, softmax, recurrences, resampling, and whatever has a subgraph or another domain. So do two more:
//! the front end inside a graph (all that leads to its first logarithm: a power spectrum spans more than f16 holds),
//! and operators with weights beyond 65504 or with measured values beyond a quarter of that. The values have to be
//! measured in f32: ONNX Runtime's CPU kernels compute many f16 operators in f32 and would not show an overflow that
//! other devices have. The graph's inputs and outputs stay f32.

use std::collections::{BTreeMap, HashMap, HashSet};

use half::f16;
use wheatear::{Error, ErrorKind, Result};

use super::graph::{Index, initializer_names};
use super::proto::{AttributeProto, AttributeType, DataType, GraphProto, ModelProto, NodeProto, TensorProto};

/// Operators that are converted.
#[rustfmt::skip]
pub const HALF_OPERATORS: &[&str] = &[
    "Abs", "Add", "AveragePool", "BatchNormalization", "Celu", "Clip", "Concat", "Conv", "ConvTranspose", "DepthToSpace", "Elu", "Erf", "Expand",
    "Flatten", "Gather", "Gelu", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "MatMul",
    "Max", "MaxPool", "Min", "Mish", "Mul", "Neg", "PRelu", "Pad", "ReduceMax", "ReduceMin", "Relu", "Reshape", "Selu", "Sigmoid", "Slice",
    "Softplus", "Softsign", "SpaceToDepth", "Split", "Squeeze", "Sub", "Sum", "Tanh", "Tile", "Transpose", "Unsqueeze", "Where",
];

const LARGEST: f32 = 65504.0;
/// Values measured on some sounds leave this much room for louder ones.
const HEADROOM: f32 = 4.0;

/// What a conversion did.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct HalfReport {
    /// Operators that now compute in f16.
    pub half_nodes: usize,
    /// Operators that stayed in f32, by type.
    pub float_nodes: BTreeMap<String, usize>,
    /// Weights stored as f16.
    pub half_weights: usize,
    /// Weights and intermediate tensors too large for f16, with their largest magnitude; what touches them stayed f32.
    pub too_large: BTreeMap<String, f32>,
    /// Weights other than 0 that became 0 in f16.
    pub flushed_to_zero: usize,
}

/// Converts `model`; `kinds` gives the element type of every tensor of the main graph that a node makes or that is an
/// input, as the runtime infers them; `largest` the magnitudes that were measured.
///
/// # Errors
/// `Input` when a weight's bytes do not fit its shape.
pub fn convert(model: &mut ModelProto, kinds: &HashMap<String, i32>, largest: &HashMap<String, f32>) -> Result<HalfReport> {
    let Some(graph) = &mut model.graph else {
        return Err(Error::new(ErrorKind::Input, "the model holds no graph"));
    };
    hoist_constants(graph);
    let mut report = HalfReport::default();
    let suffix = unused_suffix(graph);
    let chosen = choose(graph, kinds, largest, &mut report)?;

    let initial: HashMap<&str, &TensorProto> = graph.initializer.iter().map(|t| (t.name(), t)).collect();
    let is_float = |name: &str| match initial.get(name) {
        Some(t) => t.data_type() == DataType::Float as i32,
        None => kinds.get(name) == Some(&(DataType::Float as i32)),
    };
    // A tensor keeps its name for its f32 form; the f16 form has the suffix. Each form is made at most once.
    let mut halves: HashSet<String> = HashSet::new();
    let mut floats: HashSet<String> =
        graph.input.iter().map(|i| i.name().to_string()).chain(initializer_names(graph).map(str::to_string)).collect();
    let mut weights: Vec<TensorProto> = Vec::new();
    let mut nodes: Vec<NodeProto> = Vec::new();
    for (i, node) in graph.node.iter().enumerate() {
        let mut node = node.clone();
        if chosen.contains(&i) {
            for name in node.input.iter_mut().filter(|n| !n.is_empty() && is_float(n)) {
                let half = format!("{name}{suffix}");
                if halves.insert(half.clone()) {
                    match initial.get(name.as_str()) {
                        Some(t) => weights.push(half_weight(t, &half, &mut report)?),
                        None => nodes.push(cast(name, &half, DataType::Float16)),
                    }
                }
                *name = half;
            }
            for name in node.output.iter_mut().filter(|n| !n.is_empty() && is_float(n)) {
                *name = format!("{name}{suffix}");
                halves.insert(name.clone());
            }
            report.half_nodes += 1;
        } else {
            for name in node.reads() {
                let half = format!("{name}{suffix}");
                if !floats.contains(name) && halves.contains(&half) {
                    nodes.push(cast(&half, name, DataType::Float));
                    floats.insert(name.to_string());
                }
            }
            floats.extend(node.output.iter().cloned());
            *report.float_nodes.entry(node.op_type().to_string()).or_default() += 1;
        }
        nodes.push(node);
    }
    for output in &graph.output {
        let half = format!("{}{suffix}", output.name());
        if !floats.contains(output.name()) && halves.contains(&half) {
            nodes.push(cast(&half, output.name(), DataType::Float));
            floats.insert(output.name().to_string());
        }
    }
    report.half_weights = weights.len();
    graph.node = nodes;
    graph.initializer.extend(weights);
    drop_unread(graph);
    // Before IR 4 every weight had to be listed among the inputs.
    let held: HashSet<String> = initializer_names(graph).map(str::to_string).collect();
    graph.input.retain(|i| !held.contains(i.name()));
    graph.value_info.retain(|v| floats.contains(v.name()));
    model.ir_version = Some(model.ir_version().max(4));
    Ok(report)
}

/// Indices of the nodes to convert.
fn choose(
    graph: &GraphProto,
    kinds: &HashMap<String, i32>,
    largest: &HashMap<String, f32>,
    report: &mut HalfReport,
) -> Result<HashSet<usize>> {
    let initial: HashMap<&str, &TensorProto> = graph.initializer.iter().map(|t| (t.name(), t)).collect();
    let front_end = front_end(graph);
    let mut chosen = HashSet::new();
    for (i, node) in graph.node.iter().enumerate() {
        let known = |n: &String| n.is_empty() || initial.contains_key(n.as_str()) || kinds.contains_key(n);
        let makes_floats = node.output.iter().any(|n| kinds.get(n) == Some(&(DataType::Float as i32)));
        let listed = node.is_standard() && HALF_OPERATORS.contains(&node.op_type()) && node.subgraphs().next().is_none();
        if !listed || !makes_floats || front_end.contains(&i) || !node.input.iter().chain(&node.output).all(known) {
            continue;
        }
        let mut fits = true;
        for name in node.input.iter().chain(&node.output) {
            if let Some(value) = largest.get(name).filter(|v| **v > LARGEST / HEADROOM) {
                report.too_large.insert(name.clone(), *value);
                fits = false;
            }
        }
        for tensor in node.input.iter().filter_map(|n| initial.get(n.as_str())).filter(|t| t.data_type() == DataType::Float as i32) {
            let value = tensor.f32_values()?.iter().fold(0f32, |m, v| m.max(v.abs()));
            if value > LARGEST {
                report.too_large.insert(tensor.name().to_string(), value);
                fits = false;
            }
        }
        if fits {
            chosen.insert(i);
        }
    }
    Ok(chosen)
}

/// Nodes that lead to the graph's first logarithms, if these hold less than half of the weights: a front end.
fn front_end(graph: &GraphProto) -> HashSet<usize> {
    let index = Index::new(graph);
    let logs: Vec<&str> =
        graph.node.iter().filter(|n| n.op_type() == "Log" && n.is_standard()).flat_map(|n| &n.output).map(String::as_str).collect();
    let mut nodes: HashSet<usize> = HashSet::new();
    let size: HashMap<&str, i64> =
        graph.initializer.iter().map(|t| (t.name(), t.dims.iter().fold(1i64, |n, d| n.saturating_mul(*d)))).collect();
    let weigh = |nodes: &mut dyn Iterator<Item = usize>| -> i64 {
        let read: HashSet<&str> = nodes.flat_map(|i| graph.node[i].reads()).collect();
        read.iter().filter_map(|n| size.get(n)).fold(0, |n, s| n.saturating_add(*s))
    };
    let all = weigh(&mut (0..graph.node.len()));
    for log in logs {
        let before = index.ancestors([log]);
        let earlier_log = before.iter().filter(|i| graph.node[**i].op_type() == "Log").count() > 1;
        // The rest of the network hangs on the front end: what follows it must weigh more than it does.
        if !earlier_log && (weigh(&mut before.iter().copied()) < all / 2 || before.iter().all(|i| graph.node[*i].op_type() != "Relu")) {
            nodes.extend(before);
        }
    }
    nodes
}

fn half_weight(tensor: &TensorProto, name: &str, report: &mut HalfReport) -> Result<TensorProto> {
    let values = tensor.f32_values()?;
    let halves: Vec<f16> = values.iter().map(|v| f16::from_f32(*v)).collect();
    report.flushed_to_zero += values.iter().zip(&halves).filter(|(v, h)| **v != 0.0 && h.to_f32() == 0.0).count();
    Ok(TensorProto::from_f16(name, &tensor.dims, &halves))
}

/// A node that turns `from` into `to`, a tensor of type `kind`.
pub fn cast(from: &str, to: &str, kind: DataType) -> NodeProto {
    let attribute = AttributeProto {
        name: Some("to".into()),
        i: Some(kind as i64),
        r#type: Some(AttributeType::Int as i32),
        ..AttributeProto::default()
    };
    NodeProto {
        op_type: Some("Cast".into()),
        name: Some(format!("cast {to}")),
        input: vec![from.into()],
        output: vec![to.into()],
        attribute: vec![attribute],
        ..NodeProto::default()
    }
}

/// Turns `Constant` nodes that hold an f32 tensor into initializers.
fn hoist_constants(graph: &mut GraphProto) {
    let mut hoisted = Vec::new();
    graph.node.retain(|node| {
        let value = node.attr("value").and_then(|a| a.t.as_ref()).filter(|t| t.data_type() == DataType::Float as i32);
        match (node.op_type(), value, node.output.first()) {
            ("Constant", Some(value), Some(name)) => {
                hoisted.push(TensorProto { name: Some(name.clone()), ..value.clone() });
                false
            }
            _ => true,
        }
    });
    graph.initializer.extend(hoisted);
}

fn drop_unread(graph: &mut GraphProto) {
    let mut read: HashSet<String> = graph.node.iter().flat_map(NodeProto::reads).map(str::to_string).collect();
    read.extend(graph.output.iter().map(|o| o.name().to_string()));
    graph.initializer.retain(|t| read.contains(t.name()));
}

/// A suffix that no name of the graph ends with.
fn unused_suffix(graph: &GraphProto) -> String {
    let mut suffix = "/f16".to_string();
    let taken = |suffix: &str| graph.node.iter().flat_map(|n| n.output.iter().chain(&n.input)).any(|n| n.ends_with(suffix));
    while taken(&suffix) {
        suffix.push('_');
    }
    suffix
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::testing::*;

    fn kinds(model: &ModelProto) -> HashMap<String, i32> {
        let g = model.graph.as_ref().unwrap();
        let names = g.node.iter().flat_map(|n| &n.output).cloned().chain(g.input.iter().map(|i| i.name().to_string()));
        names.map(|n| (n.clone(), if n == "flag" { DataType::Bool as i32 } else { DataType::Float as i32 })).collect()
    }

    fn ops(model: &ModelProto) -> Vec<&str> {
        model.graph.as_ref().unwrap().node.iter().map(|n| n.op_type()).collect()
    }

    #[test]
    fn weights_become_f16_and_softmax_stays_f32() {
        let mut model = mlp_classifier();
        let kinds = kinds(&model);
        let report = convert(&mut model, &kinds, &HashMap::new()).unwrap();
        assert_eq!(ops(&model), ["Cast", "Gemm", "Relu", "Gemm", "Cast", "Softmax"]);
        assert_eq!((report.half_nodes, report.half_weights), (3, 4));
        assert_eq!(report.float_nodes, BTreeMap::from([("Softmax".to_string(), 1)]));
        let g = model.graph.unwrap();
        assert!(g.initializer.iter().all(|t| t.data_type() == DataType::Float16 as i32), "{:?}", g.initializer.len());
        assert_eq!(g.output[0].name(), "p");
    }

    #[test]
    fn weights_beyond_f16_stay_and_are_reported() {
        let mut model = mlp_classifier();
        let kinds = kinds(&model);
        let g = model.graph.as_mut().unwrap();
        g.initializer[2] = TensorProto::from_f32("w2", &[16, 5], &[70000.0; 80]);
        g.initializer[1] = TensorProto::from_f32("b1", &[16], &[1e-9; 16]);
        let report = convert(&mut model, &kinds, &HashMap::new()).unwrap();
        assert_eq!(report.too_large, BTreeMap::from([("w2".to_string(), 70000.0)]));
        assert_eq!(report.flushed_to_zero, 16);
        assert_eq!(ops(&model), ["Cast", "Gemm", "Relu", "Cast", "Gemm", "Softmax"]);
    }

    #[test]
    fn what_touches_a_tensor_measured_too_large_stays_f32() {
        let mut model = mlp_classifier();
        let kinds = kinds(&model);
        let report = convert(&mut model, &kinds, &HashMap::from([("h".to_string(), 20000.0), ("hidden".to_string(), 16000.0)])).unwrap();
        assert_eq!(report.too_large, BTreeMap::from([("h".to_string(), 20000.0)]));
        assert_eq!(ops(&model), ["Gemm", "Relu", "Cast", "Gemm", "Cast", "Softmax"]);
    }

    #[test]
    fn a_subgraph_reads_the_f32_form_under_the_old_name() {
        let mut model = if_classifier();
        let kinds = kinds(&model);
        convert(&mut model, &kinds, &HashMap::new()).unwrap();
        assert_eq!(ops(&model), ["Cast", "Relu", "Cast", "If", "Cast", "MatMul", "Cast"]);
        let g = model.graph.unwrap();
        assert_eq!(g.node[2].output, ["h"]);
        let offset = g.initializer.iter().find(|t| t.name() == "offset").unwrap();
        assert_eq!(offset.data_type(), DataType::Float as i32);
    }

    #[test]
    fn what_leads_to_the_logarithm_is_a_front_end_and_stays_f32() {
        let mut model = mlp_classifier();
        let g = model.graph.as_mut().unwrap();
        g.node.insert(0, node("Log", &["m"], &["x2"]));
        g.node.insert(0, node("MatMul", &["x", "mel"], &["m"]));
        g.node[2].input[0] = "x2".into();
        g.initializer.push(weights("mel", &[64, 16]));
        let kinds = kinds(&model);
        convert(&mut model, &kinds, &HashMap::new()).unwrap();
        assert_eq!(ops(&model), ["MatMul", "Log", "Cast", "Gemm", "Relu", "Gemm", "Cast", "Softmax"]);
    }
}
