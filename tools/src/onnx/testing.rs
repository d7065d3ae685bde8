//! Small models for the tests, built from the messages themselves.

use super::graph::Index;
use super::proto::*;
use super::shape;
use super::{cut, graph};

pub fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        op_type: Some(op.into()),
        input: inputs.iter().map(|s| s.to_string()).collect(),
        output: outputs.iter().map(|s| s.to_string()).collect(),
        name: outputs.first().map(|o| format!("make_{o}")),
        ..NodeProto::default()
    }
}

pub fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { name: Some(name.into()), ints: ints.to_vec(), r#type: Some(AttributeType::Ints as i32), ..AttributeProto::default() }
}

/// An f32 value; a dimension is a number, a name, or `?`.
pub fn input(name: &str, dims: &[&str]) -> ValueInfoProto {
    let mut value = shape::value_info(name, DataType::Float as i32, &vec![0; dims.len()]);
    if let Some(TypeValue::Tensor(t)) = value.r#type.as_mut().and_then(|t| t.value.as_mut()) {
        for (dim, text) in t.shape.as_mut().unwrap().dim.iter_mut().zip(dims) {
            dim.value = match text.parse() {
                Ok(n) => Some(DimensionValue::Value(n)),
                Err(_) if *text == "?" => None,
                Err(_) => Some(DimensionValue::Param(text.to_string())),
            };
        }
    }
    value
}

pub fn with_type(mut value: ValueInfoProto, kind: DataType) -> ValueInfoProto {
    if let Some(TypeValue::Tensor(t)) = value.r#type.as_mut().and_then(|t| t.value.as_mut()) {
        t.elem_type = Some(kind as i32);
    }
    value
}

/// Values in [-1, 1] that look random but are the same everywhere.
pub fn weights(name: &str, dims: &[i64]) -> TensorProto {
    let n = dims.iter().product::<i64>();
    let seed = name.bytes().map(i64::from).sum::<i64>();
    let values: Vec<f32> = (0..n).map(|i| (((i * 7919 + seed * 104729) % 2003) as f32 / 1001.5) - 1.0).collect();
    TensorProto::from_f32(name, dims, &values)
}

pub fn model(
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    inputs: Vec<ValueInfoProto>,
    outputs: Vec<ValueInfoProto>,
) -> ModelProto {
    ModelProto {
        ir_version: Some(8),
        producer_name: Some("test".into()),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(17) }],
        graph: Some(GraphProto {
            name: Some("g".into()),
            node: nodes,
            initializer: initializers,
            input: inputs,
            output: outputs,
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    }
}

/// x \[batch, 64\] -> Gemm -> Relu -> hidden \[batch, 16\] -> Gemm -> Softmax -> p \[batch, 5\].
pub fn mlp_classifier() -> ModelProto {
    model(
        vec![
            node("Gemm", &["x", "w1", "b1"], &["h"]),
            node("Relu", &["h"], &["hidden"]),
            node("Gemm", &["hidden", "w2", "b2"], &["logits"]),
            node("Softmax", &["logits"], &["p"]),
        ],
        vec![weights("w1", &[64, 16]), weights("b1", &[16]), weights("w2", &[16, 5]), weights("b2", &[5])],
        vec![input("x", &["batch", "64"])],
        vec![input("p", &["batch", "5"])],
    )
}

/// x \[1,1,12,10\] -> Conv 3x3 -> Relu -> global average -> pooled \[1,8,1,1\] -> Conv 1x1 -> Flatten -> Sigmoid.
pub fn conv_classifier() -> ModelProto {
    model(
        vec![
            node("Conv", &["x", "k1", "c1"], &["maps"]),
            node("Relu", &["maps"], &["active"]),
            node("GlobalAveragePool", &["active"], &["pooled"]),
            node("Conv", &["pooled", "k2"], &["scores"]),
            node("Flatten", &["scores"], &["flat"]),
            node("Sigmoid", &["flat"], &["p"]),
        ],
        vec![weights("k1", &[8, 1, 3, 3]), weights("c1", &[8]), weights("k2", &[3, 8, 1, 1])],
        vec![input("x", &["1", "1", "12", "10"])],
        vec![input("p", &["1", "3"])],
    )
}

/// x -> Relu -> h; If(flag) { h + offset } else { h } -> chosen -> MatMul -> p. `offset` is an outer initializer.
pub fn if_classifier() -> ModelProto {
    let branch = |nodes: Vec<NodeProto>, out: &str| GraphProto {
        name: Some(format!("branch_{out}")),
        node: nodes,
        output: vec![input(out, &["1", "4"])],
        ..GraphProto::default()
    };
    let graph_attr = |name: &str, g| AttributeProto {
        name: Some(name.into()),
        g: Some(g),
        r#type: Some(AttributeType::Graph as i32),
        ..AttributeProto::default()
    };
    let mut choose = node("If", &["flag"], &["chosen"]);
    choose.attribute = vec![
        graph_attr("then_branch", branch(vec![node("Add", &["h", "offset"], &["t"])], "t")),
        graph_attr("else_branch", branch(vec![node("Identity", &["h"], &["e"])], "e")),
    ];
    model(
        vec![node("Relu", &["x"], &["h"]), choose, node("MatMul", &["chosen", "w"], &["p"])],
        vec![weights("offset", &[1, 4]), weights("w", &[4, 3])],
        vec![input("x", &["1", "4"]), with_type(input("flag", &[]), DataType::Bool)],
        vec![input("p", &["1", "3"])],
    )
}

/// x -> GlobalAveragePool -> Sub(mean) -> Mul with itself: no weighted layer feeds the output.
pub fn no_classifier() -> ModelProto {
    model(
        vec![node("GlobalAveragePool", &["x"], &["g"]), node("Mul", &["g", "g"], &["y"])],
        vec![],
        vec![input("x", &["1", "4", "8"])],
        vec![input("y", &["1", "4", "1"])],
    )
}

/// Runs everything that looks at a model over one that may be damaged.
pub fn exercise(mut model: ModelProto) {
    let Some(graph) = model.graph.clone() else { return };
    let index = Index::new(&graph);
    for output in &graph.output {
        let _ = index.classifier(output.name());
        index.upstream(output.name(), 50);
    }
    for input in index.free_inputs() {
        let _ = shape::resolve(input, None, &[], Some(4));
    }
    graph::for_each_tensor_mut(&mut model, &mut |t| {
        let _ = t.f32_values();
    });
    let _ = super::metadata::Essentials::read(&model);
    let kinds = graph.node.iter().flat_map(|n| &n.output).chain([&"x".to_string()]).map(|n| (n.clone(), DataType::Float as i32)).collect();
    let _ = super::half::convert(&mut model.clone(), &kinds, &Default::default());
    let _ = cut::cut(&mut model, "chosen", None);
}
