//! Questions about a graph: who makes a tensor, who reads it, what is constant, and where the last classifier layer is.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use super::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TensorType, TypeValue, ValueInfoProto};

impl NodeProto {
    /// The subgraphs of `If`, `Loop`, `Scan` and the like.
    pub fn subgraphs(&self) -> impl Iterator<Item = &GraphProto> {
        self.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs))
    }

    /// The attribute called `name`.
    pub fn attr(&self, name: &str) -> Option<&AttributeProto> {
        self.attribute.iter().find(|a| a.name() == name)
    }

    /// Whether this is an operator of the standard ONNX domain.
    pub fn is_standard(&self) -> bool {
        matches!(self.domain(), "" | "ai.onnx")
    }

    /// Every tensor the node reads: its inputs, and what its subgraphs take from outside.
    pub fn reads(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.input.iter().map(String::as_str).filter(|n| !n.is_empty()).collect();
        self.subgraphs().for_each(|g| outer_references(g, &mut names));
        names
    }
}

/// Adds to `names` what `graph` reads but does not define itself.
pub fn outer_references<'a>(graph: &'a GraphProto, names: &mut Vec<&'a str>) {
    let defined: HashSet<&str> = definitions(graph).collect();
    let read = graph.node.iter().flat_map(NodeProto::reads).chain(graph.output.iter().map(|o| o.name()));
    names.extend(read.filter(|n| !n.is_empty() && !defined.contains(n)));
}

fn definitions(graph: &GraphProto) -> impl Iterator<Item = &str> {
    let nodes = graph.node.iter().flat_map(|n| n.output.iter().map(String::as_str));
    nodes.chain(initializer_names(graph)).chain(graph.input.iter().map(|i| i.name()))
}

/// Names of all initializers, sparse ones too.
pub fn initializer_names(graph: &GraphProto) -> impl Iterator<Item = &str> {
    let sparse = graph.sparse_initializer.iter().filter_map(|s| s.values.as_ref());
    graph.initializer.iter().chain(sparse).map(|t| t.name())
}

/// The tensor type of a value, if it is a tensor.
pub fn tensor_type(value: &ValueInfoProto) -> Option<&TensorType> {
    match value.r#type.as_ref()?.value.as_ref()? {
        TypeValue::Tensor(t) => Some(t),
        _ => None,
    }
}

/// Calls `f` on every tensor of the model: initializers and attributes, in subgraphs and functions too.
pub fn for_each_tensor_mut(model: &mut ModelProto, f: &mut dyn FnMut(&mut TensorProto)) {
    fn in_nodes(nodes: &mut [NodeProto], f: &mut dyn FnMut(&mut TensorProto)) {
        for a in nodes.iter_mut().flat_map(|n| &mut n.attribute) {
            a.t.iter_mut().chain(&mut a.tensors).for_each(&mut *f);
            a.sparse_tensor
                .iter_mut()
                .chain(&mut a.sparse_tensors)
                .for_each(|s| s.values.iter_mut().chain(&mut s.indices).for_each(&mut *f));
            a.g.iter_mut().chain(&mut a.graphs).for_each(|g| in_graph(g, f));
        }
    }
    fn in_graph(graph: &mut GraphProto, f: &mut dyn FnMut(&mut TensorProto)) {
        graph.initializer.iter_mut().for_each(&mut *f);
        graph.sparse_initializer.iter_mut().for_each(|s| s.values.iter_mut().chain(&mut s.indices).for_each(&mut *f));
        in_nodes(&mut graph.node, f);
    }
    model.graph.iter_mut().for_each(|g| in_graph(g, f));
    model.functions.iter_mut().for_each(|function| in_nodes(&mut function.node, f));
}

/// An index over the top level of one graph.
pub struct Index<'a> {
    graph: &'a GraphProto,
    producer: HashMap<&'a str, usize>,
    constants: HashSet<&'a str>,
}

impl<'a> Index<'a> {
    /// Indexes `graph`.
    pub fn new(graph: &'a GraphProto) -> Index<'a> {
        let mut producer = HashMap::new();
        let mut constants: HashSet<&str> = initializer_names(graph).collect();
        for (i, node) in graph.node.iter().enumerate() {
            let reads = node.reads();
            let constant = reads.iter().all(|n| constants.contains(n)) && (!reads.is_empty() || node.op_type() == "Constant");
            for name in node.output.iter().filter(|n| !n.is_empty()) {
                producer.insert(name.as_str(), i);
                if constant {
                    constants.insert(name);
                }
            }
        }
        Index { graph, producer, constants }
    }

    /// The node that makes `tensor`.
    pub fn producer(&self, tensor: &str) -> Option<(usize, &'a NodeProto)> {
        self.producer.get(tensor).map(|i| (*i, &self.graph.node[*i]))
    }

    /// Whether `tensor` is a weight, or computed from weights alone.
    pub fn is_constant(&self, tensor: &str) -> bool {
        self.constants.contains(tensor)
    }

    /// The inputs that a caller must give: those without an initializer.
    pub fn free_inputs(&self) -> Vec<&'a ValueInfoProto> {
        let held: HashSet<&str> = initializer_names(self.graph).collect();
        self.graph.input.iter().filter(|i| !held.contains(i.name())).collect()
    }

    /// Whether some input or node defines `tensor`.
    pub fn defines(&self, tensor: &str) -> bool {
        self.producer.contains_key(tensor) || self.graph.input.iter().any(|i| i.name() == tensor)
    }

    /// The nodes that `tensors` depend on, as indices; cycles do no harm.
    pub fn ancestors<'t>(&self, tensors: impl IntoIterator<Item = &'t str>) -> BTreeSet<usize>
    where
        'a: 't,
    {
        let mut found = BTreeSet::new();
        let mut queue: VecDeque<&str> = tensors.into_iter().collect();
        while let Some(tensor) = queue.pop_front() {
            if let Some((i, node)) = self.producer(tensor)
                && found.insert(i)
            {
                queue.extend(node.reads());
            }
        }
        found
    }

    /// Tensors on the way back from `output` and their distance from it in nodes, nearest first, at most `limit`.
    pub fn upstream(&self, output: &'a str, limit: usize) -> Vec<(&'a str, usize)> {
        let mut seen = HashSet::from([output]);
        let mut queue = VecDeque::from([(output, 0)]);
        let mut found = Vec::new();
        while let Some((tensor, distance)) = queue.pop_front() {
            found.push((tensor, distance));
            if found.len() == limit {
                break;
            }
            if let Some((_, node)) = self.producer(tensor) {
                for name in node.reads() {
                    if !self.is_constant(name) && seen.insert(name) {
                        queue.push_back((name, distance + 1));
                    }
                }
            }
        }
        found
    }

    /// Walks back from `output` to the last classifier layer and returns what feeds it.
    pub fn classifier(&self, output: &'a str) -> Result<Classifier<'a>, NoClassifier<'a>> {
        let mut tensor = output;
        let mut scored = false;
        for _ in 0..=self.graph.node.len() {
            let Some((_, node)) = self.producer(tensor) else {
                return Err(NoClassifier { tensor, op: None });
            };
            let stop = NoClassifier { tensor, op: Some(node.op_type()) };
            if is_layer(node) {
                let feeds = self.layer_data(node).ok_or(stop)?;
                return Ok(Classifier { feeds: self.before_quantisation(feeds), layer: node });
            }
            let known = node.is_standard() || node.domain() == "ai.onnx.ml";
            // An activation at the very end belongs to an embedding; before a score it is part of a classifier.
            if !known || !(PASSED_OVER.contains(&node.op_type()) || scored && ACTIVATIONS.contains(&node.op_type())) {
                return Err(stop);
            }
            scored |= SCORES.contains(&node.op_type());
            let moving: Vec<&str> = node.input.iter().map(String::as_str).filter(|n| !n.is_empty() && !self.is_constant(n)).collect();
            tensor = match moving[..] {
                [one] => one,
                // Quantised layers carry a scale computed at run time: the data is what the layer made.
                [a, b] if node.op_type() == "Mul" => {
                    let made_by_cast = |n: &str| self.producer(n).is_some_and(|(_, p)| p.op_type() == "Cast");
                    match (made_by_cast(a), made_by_cast(b)) {
                        (true, false) => a,
                        (false, true) => b,
                        _ => return Err(stop),
                    }
                }
                _ => return Err(stop),
            };
        }
        Err(NoClassifier { tensor, op: None })
    }

    /// The moving input of a layer whose weight is constant; a product of two moving tensors is attention, no classifier.
    fn layer_data(&self, node: &'a NodeProto) -> Option<&'a str> {
        let input = |i: usize| node.input.get(i).map(String::as_str).filter(|n| !n.is_empty());
        let data = input(0)?;
        if node.domain() == "ai.onnx.ml" {
            return Some(data);
        }
        let weight = input(if node.op_type().starts_with("QLinear") { 3 } else { 1 })?;
        if node.op_type().ends_with("Conv") && !self.is_pointwise(node) {
            return None;
        }
        match (self.is_constant(data), self.is_constant(weight)) {
            (false, true) => Some(data),
            (true, false) => Some(weight),
            _ => None,
        }
    }

    /// A convolution with a 1x1 kernel: it classifies each position, or is a dense layer in disguise.
    fn is_pointwise(&self, node: &NodeProto) -> bool {
        let kernel = node.attr("kernel_shape").map(|a| a.ints.clone()).or_else(|| {
            let weight = self.graph.initializer.iter().find(|t| Some(t.name()) == node.input.get(1).map(String::as_str))?;
            weight.dims.get(2..).map(<[i64]>::to_vec)
        });
        kernel.is_some_and(|k| k.iter().all(|n| *n == 1)) && node.attr("group").is_none_or(|g| g.i() <= 1)
    }

    fn before_quantisation(&self, mut tensor: &'a str) -> &'a str {
        while let Some((_, node)) = self.producer(tensor)
            && matches!(node.op_type(), "DynamicQuantizeLinear" | "QuantizeLinear")
            && let Some(data) = node.input.first()
        {
            tensor = data;
        }
        tensor
    }
}

/// Found by [`Index::classifier`].
#[derive(Debug, Clone, Copy)]
pub struct Classifier<'a> {
    /// The tensor that feeds the layer: the embedding.
    pub feeds: &'a str,
    /// The layer.
    pub layer: &'a NodeProto,
}

/// Where the walk back from an output ended without a classifier layer.
#[derive(Debug, Clone, Copy)]
pub struct NoClassifier<'a> {
    /// The tensor it had come to.
    pub tensor: &'a str,
    /// The operator that makes it; `None` at an input.
    pub op: Option<&'a str>,
}

fn is_layer(node: &NodeProto) -> bool {
    match node.domain() {
        "" | "ai.onnx" => {
            matches!(node.op_type(), "Gemm" | "MatMul" | "Conv" | "MatMulInteger" | "ConvInteger" | "QLinearMatMul" | "QLinearConv")
        }
        "com.microsoft" => {
            matches!(node.op_type(), "FusedGemm" | "FusedMatMul" | "FusedConv" | "MatMulNBits" | "DynamicQuantizeMatMul" | "QGemm")
        }
        "ai.onnx.ml" => matches!(node.op_type(), "LinearClassifier" | "LinearRegressor" | "SVMClassifier" | "TreeEnsembleClassifier"),
        _ => false,
    }
}

/// Operators between a classifier layer and the output: they turn scores into other scores, or reshape them.
#[rustfmt::skip]
const PASSED_OVER: &[&str] = &[
    "Add", "ArgMax", "AveragePool", "Cast", "Clip", "DequantizeLinear", "Div", "Dropout", "Exp", "Flatten", "GlobalAveragePool", "GlobalMaxPool",
    "HardSigmoid", "Identity", "LogSoftmax", "Log", "MaxPool", "Mul", "Neg", "Normalizer", "QuantizeLinear", "ReduceLogSumExp", "ReduceMax",
    "ReduceMean", "ReduceSum", "Reshape", "Sigmoid", "Slice", "Softmax", "Squeeze", "Sub", "TopK", "Transpose", "Unsqueeze", "ZipMap",
];
const ACTIVATIONS: &[&str] = &["Relu", "LeakyRelu", "HardSwish", "BatchNormalization", "Tanh"];
const SCORES: &[&str] =
    &["ArgMax", "GlobalAveragePool", "GlobalMaxPool", "LogSoftmax", "ReduceMax", "ReduceMean", "Sigmoid", "Softmax", "TopK"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::testing::*;

    fn auto(model: &ModelProto) -> Result<(String, String), String> {
        let graph = model.graph.as_ref().unwrap();
        let index = Index::new(graph);
        let found = index.classifier(graph.output[0].name());
        found.map(|c| (c.feeds.into(), c.layer.op_type().into())).map_err(|n| n.op.unwrap_or("input").into())
    }

    #[test]
    fn the_classifier_is_the_last_weighted_layer_before_the_output() {
        assert_eq!(auto(&mlp_classifier()).unwrap(), ("hidden".into(), "Gemm".into()));
        assert_eq!(auto(&conv_classifier()).unwrap(), ("pooled".into(), "Conv".into()));
        assert_eq!(auto(&if_classifier()).unwrap(), ("chosen".into(), "MatMul".into()));
    }

    #[test]
    fn weights_behind_other_nodes_still_count_as_weights() {
        let mut model = mlp_classifier();
        let graph = model.graph.as_mut().unwrap();
        let gemm = graph.node.iter_mut().find(|n| n.output[0] == "logits").unwrap();
        gemm.input[1] = "w2_again".into();
        graph.node.insert(0, node("Identity", &["w2"], &["w2_again"]));
        assert_eq!(auto(&model).unwrap().0, "hidden");
    }

    #[test]
    fn a_dynamically_quantised_layer_is_cut_before_its_quantisation() {
        let mut model = mlp_classifier();
        let graph = model.graph.as_mut().unwrap();
        graph.node.retain(|n| n.output[0] != "logits");
        for n in [
            node("DynamicQuantizeLinear", &["hidden"], &["q", "q_scale", "q_zero"]),
            node("MatMulInteger", &["q", "w2", "q_zero"], &["sum"]),
            node("Cast", &["sum"], &["sum_f"]),
            node("Mul", &["q_scale", "b2"], &["scale"]),
            node("Mul", &["sum_f", "scale"], &["logits"]),
        ] {
            graph.node.push(n);
        }
        assert_eq!(auto(&model).map(|f| f.0), Ok("hidden".into()));
    }

    #[test]
    fn a_model_without_a_classifier_says_where_the_walk_ended() {
        assert_eq!(auto(&no_classifier()).unwrap_err(), "Mul");
    }

    #[test]
    fn subgraphs_read_from_outside_what_they_do_not_define() {
        let model = if_classifier();
        let node = model.graph.as_ref().unwrap().node.iter().find(|n| n.op_type() == "If").unwrap();
        let mut reads = node.reads();
        reads.sort_unstable();
        assert_eq!(reads, ["flag", "h", "h", "offset"]);
    }
}
