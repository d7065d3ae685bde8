//! Cutting a model at a tensor: the tensor becomes the output, and what it does not need goes.

use std::collections::HashSet;

use wheatear::{Error, ErrorKind, Result};

use super::graph::{Index, tensor_type};
use super::proto::{DataType, GraphProto, ModelProto, NodeProto, ValueInfoProto};
use super::shape::value_info;

/// How much a cut removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Removed {
    /// Operators of the main graph.
    pub nodes: usize,
    /// Weights of the main graph.
    pub initializers: usize,
    /// Inputs that nothing reads any more.
    pub inputs: usize,
    /// Operator definitions that nothing calls any more.
    pub functions: usize,
}

/// Makes `tensor` the only output of `model` and drops nodes, weights, inputs, shapes, annotations, functions and
/// training graphs that it does not need.
///
/// What subgraphs read from outside is kept, however deep. The output's type is taken over where the model states it;
/// its shape is stated if `shape` is given.
///
/// # Errors
/// `Input` when the model has no such tensor, with names that are similar.
pub fn cut(model: &mut ModelProto, tensor: &str, shape: Option<&[i64]>) -> Result<Removed> {
    let Some(graph) = &mut model.graph else {
        return Err(Error::new(ErrorKind::Input, "the model holds no graph"));
    };
    let index = Index::new(graph);
    if !index.defines(tensor) {
        return Err(no_such_tensor(graph, tensor));
    }
    let needed = index.ancestors([tensor]);
    let mut read: HashSet<String> = needed.iter().flat_map(|i| graph.node[*i].reads()).map(str::to_string).collect();
    read.insert(tensor.to_string());
    let output = output_info(graph, tensor, shape);

    let before = (graph.node.len(), graph.initializer.len() + graph.sparse_initializer.len(), graph.input.len());
    let mut position = 0..;
    graph.node.retain(|_| position.next().is_some_and(|i| needed.contains(&i)));
    graph.initializer.retain(|t| read.contains(t.name()));
    graph.sparse_initializer.retain(|s| s.values.as_ref().is_some_and(|t| read.contains(t.name())));
    graph.input.retain(|i| read.contains(i.name()));
    let made: HashSet<&str> = graph.node.iter().flat_map(|n| n.output.iter().map(String::as_str)).collect();
    graph.value_info.retain(|v| v.name() != tensor && (made.contains(v.name()) || read.contains(v.name())));
    graph.quantization_annotation.retain(|a| made.contains(a.tensor_name()) || read.contains(a.tensor_name()));
    graph.output = vec![output];
    let after = (graph.node.len(), graph.initializer.len() + graph.sparse_initializer.len(), graph.input.len());

    model.training_info.clear();
    let functions = drop_unused_functions(model);
    Ok(Removed { nodes: before.0 - after.0, initializers: before.1 - after.1, inputs: before.2 - after.2, functions })
}

/// Adds `tensors` to the model's outputs, beside those it has.
pub fn add_outputs(model: &mut ModelProto, tensors: &[&str]) {
    if let Some(graph) = &mut model.graph {
        for tensor in tensors {
            if graph.output.iter().all(|o| o.name() != *tensor) {
                // A bare name: the runtime infers the type, and a shape that the model states may be wrong.
                graph.output.push(ValueInfoProto { name: Some(tensor.to_string()), ..ValueInfoProto::default() });
            }
        }
    }
}

fn output_info(graph: &GraphProto, tensor: &str, shape: Option<&[i64]>) -> ValueInfoProto {
    let stated = graph.output.iter().chain(&graph.value_info).chain(&graph.input).find(|v| v.name() == tensor);
    match (stated, shape) {
        (stated, Some(shape)) => {
            let kind = stated.and_then(tensor_type).map_or(DataType::Float as i32, |t| t.elem_type());
            value_info(tensor, kind, shape)
        }
        (Some(stated), None) => stated.clone(),
        (None, None) => ValueInfoProto { name: Some(tensor.into()), ..ValueInfoProto::default() },
    }
}

fn drop_unused_functions(model: &mut ModelProto) -> usize {
    type Key = (String, String, String);
    fn calls(node: &NodeProto, found: &mut Vec<Key>) {
        found.push((node.domain().into(), node.op_type().into(), node.overload().into()));
        node.subgraphs().flat_map(|g| &g.node).for_each(|n| calls(n, found));
    }
    let before = model.functions.len();
    let mut queue = Vec::new();
    model.graph.iter().flat_map(|g| &g.node).for_each(|n| calls(n, &mut queue));
    let mut called: HashSet<Key> = HashSet::new();
    while let Some(key) = queue.pop() {
        if called.insert(key.clone()) {
            let of = model.functions.iter().find(|f| f.domain() == key.0 && f.name() == key.1 && f.overload() == key.2);
            of.iter().flat_map(|f| &f.node).for_each(|n| calls(n, &mut queue));
        }
    }
    model.functions.retain(|f| called.contains(&(f.domain().into(), f.name().into(), f.overload().into())));
    before - model.functions.len()
}

fn no_such_tensor(graph: &GraphProto, tensor: &str) -> Error {
    let wanted = tensor.to_lowercase();
    let all = graph.node.iter().flat_map(|n| &n.output).filter(|n| !n.is_empty());
    let near: Vec<&str> = all.filter(|n| !wanted.is_empty() && n.to_lowercase().contains(&wanted)).map(String::as_str).take(8).collect();
    let e = Error::new(ErrorKind::Input, "the model has no such tensor").at(format!("'{tensor}'"));
    let e = if near.is_empty() { e } else { e.found(format!("similar: {}", near.join(", "))) };
    e.cure("choose one that `wheatear export MODEL.onnx --list` prints, or --cut auto")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::testing::*;

    fn names(model: &ModelProto) -> (Vec<&str>, Vec<&str>, Vec<&str>) {
        let g = model.graph.as_ref().unwrap();
        (
            g.node.iter().map(|n| n.op_type()).collect(),
            g.initializer.iter().map(|t| t.name()).collect(),
            g.input.iter().map(|i| i.name()).collect(),
        )
    }

    #[test]
    fn the_classifier_goes_and_the_rest_stays() {
        let mut model = mlp_classifier();
        let removed = cut(&mut model, "hidden", None).unwrap();
        assert_eq!(removed, Removed { nodes: 2, initializers: 2, inputs: 0, functions: 0 });
        assert_eq!(names(&model), (vec!["Gemm", "Relu"], vec!["w1", "b1"], vec!["x"]));
        assert_eq!(model.graph.unwrap().output[0].name(), "hidden");
    }

    #[test]
    fn weights_and_inputs_read_only_inside_a_subgraph_stay() {
        let mut model = if_classifier();
        cut(&mut model, "chosen", None).unwrap();
        assert_eq!(names(&model), (vec!["Relu", "If"], vec!["offset"], vec!["x", "flag"]));
        cut(&mut model, "h", None).unwrap();
        assert_eq!(names(&model), (vec!["Relu"], vec![], vec!["x"]));
    }

    #[test]
    fn functions_that_functions_call_stay_and_others_go() {
        use crate::onnx::proto::FunctionProto;
        let function = |name: &str, body: &[&str]| FunctionProto {
            name: Some(name.into()),
            domain: Some("my".into()),
            node: body.iter().map(|op| NodeProto { domain: Some("my".into()), ..node(op, &["a"], &["b"]) }).collect(),
            ..FunctionProto::default()
        };
        let mut model = mlp_classifier();
        model.functions = vec![function("Used", &["Inner"]), function("Inner", &[]), function("Dead", &["Inner"])];
        let relu = model.graph.as_mut().unwrap().node.iter_mut().find(|n| n.op_type() == "Relu").unwrap();
        (relu.op_type, relu.domain) = (Some("Used".into()), Some("my".into()));
        assert_eq!(cut(&mut model, "hidden", None).unwrap().functions, 1);
        let kept: Vec<&str> = model.functions.iter().map(|f| f.name()).collect();
        assert_eq!(kept, ["Used", "Inner"]);
    }

    #[test]
    fn an_unknown_tensor_is_refused_with_similar_names() {
        let e = cut(&mut mlp_classifier(), "Hidd", None).unwrap_err();
        assert!(e.kind() == ErrorKind::Input && e.to_string().contains("similar: hidden"), "{e}");
    }

    #[test]
    fn a_cycle_ends() {
        let mut model = mlp_classifier();
        let graph = model.graph.as_mut().unwrap();
        graph.node[0].input[0] = "hidden".into();
        cut(&mut model, "hidden", None).unwrap();
        assert_eq!(model.graph.unwrap().node.len(), 2);
    }
}
