"""Makes the tiny ONNX graphs of backbone.rs, and what onnx's reference evaluator computes with them.

    pip install numpy onnx==1.19.1 && python tiny_graphs.py > tiny_graphs.json

Each maps x [1, 4] to y [1, 3] = x W with W[i][j] = i - j + 0.5, unless its name says otherwise.
"""

import json

import numpy as np
from onnx import TensorProto as T
from onnx import checker, helper
from onnx.reference import ReferenceEvaluator

X = np.array([[1.0, -2.0, 0.5, 3.0]])
W = np.array([[i - j + 0.5 for j in range(3)] for i in range(4)])


def graph(name, dtype=T.FLOAT, shape=(1, 4), out=(1, 3), nodes=None, extra=()):
    np_dtype = helper.tensor_dtype_to_np_dtype(dtype)
    weight = helper.make_tensor("w", dtype, W.shape, W.astype(np_dtype).tobytes(), raw=True)
    nodes = nodes or [helper.make_node("MatMul", ["x", "w"], ["y"])]
    x = helper.make_tensor_value_info("x", dtype, shape)
    y = helper.make_tensor_value_info("y", dtype, out)
    model = helper.make_model(
        helper.make_graph(nodes, name, [x, *extra], [y], [weight]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    checker.check_model(model)
    return model, np_dtype


GRAPHS = {
    "f32": graph("f32"),
    "f16": graph("f16", dtype=T.FLOAT16),
    "dynamic": graph("dynamic", shape=("batch", 4), out=("batch", 3)),
    "int": graph("int", dtype=T.INT32),
    "two_inputs": graph(
        "two_inputs",
        nodes=[helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Add", ["z", "b"], ["y"])],
        extra=[helper.make_tensor_value_info("b", T.FLOAT, (1, 3))],
    ),
    # ln of x W: not a number where a sum is below 0.
    "ln": graph("ln", nodes=[helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Log", ["z"], ["y"])]),
}


def main():
    out = {"x": X[0].tolist(), "graphs": {}}
    for name, (model, dtype) in GRAPHS.items():
        y = None
        if name in ("f32", "f16", "dynamic"):
            y = ReferenceEvaluator(model).run(None, {"x": X.astype(dtype)})[0].astype(float)[0].tolist()
        out["graphs"][name] = {"onnx_hex": model.SerializeToString().hex(), "y": y}
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
