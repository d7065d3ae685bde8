"""Peer: ONNX Runtime's on-device training (onnxruntime-training-cpu 1.19.2, the last release): a softmax head by AdamW.

The artifacts (training graph with cross entropy, optimiser, checkpoint) are made as its documentation says, from a model
of one Gemm; fresh rows come with class-balanced replay. Limits: the number of classes is fixed when the artifacts are
made, so all are declared at the start and those that have not come yet are never chosen.
"""

import os
import sys
import tempfile
import types
from functools import partial
from pathlib import Path

# These two parts of the package serve PyTorch alone and import it; the on-device part needs neither.
for part in ("amp", "optim"):
    sys.modules[f"onnxruntime.training.{part}"] = types.ModuleType(part)

import numpy as np  # noqa: E402
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before it is loaded
import onnxruntime  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnxruntime.training import artifacts  # noqa: E402
from onnxruntime.training.api import CheckpointState, Module, Optimizer  # noqa: E402

import stream  # noqa: E402
from replay import Replay  # noqa: E402

STEPS = (16, 64)
RATES = (0.001, 0.003, 0.01)


def linear(dim, classes):
    """A model of one linear layer that starts at zero."""
    parameters = [
        numpy_helper.from_array(np.zeros((dim, classes), np.float32), "weight"),
        numpy_helper.from_array(np.zeros(classes, np.float32), "bias"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", dim])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", classes])
    gemm = helper.make_node("Gemm", ["x", "weight", "bias"], ["logits"])
    graph = helper.make_graph([gemm], "head", [x], [logits], parameters)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class OrtHead:
    """A training session on artifacts of its own."""

    def __init__(self, steps, rate, dim, classes, scale, rng):
        self.steps = steps
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        with tempfile.TemporaryDirectory() as folder:
            artifacts.generate_artifacts(
                linear(dim, classes),
                requires_grad=["weight", "bias"],
                loss=artifacts.LossType.CrossEntropyLoss,
                optimizer=artifacts.OptimType.AdamW,
                artifact_directory=folder,
            )
            at = Path(folder)
            self.state = CheckpointState.load_checkpoint(at / "checkpoint")
            evaluation = at / "eval_model.onnx"
            self.module = Module(at / "training_model.onnx", self.state, evaluation, session_options=options)
            self.optimizer = Optimizer(at / "optimizer_model.onnx", self.module)
        self.optimizer.set_learning_rate(rate)
        self.replay = Replay(dim, classes, scale, rng)

    def prepare(self, x, latents, y):
        return x, latents, y

    def learn(self, rows):
        x, latents, y = rows
        self.module.train()
        for _ in range(self.steps):
            self.module(*self.replay.mixed(x, y))
            self.optimizer.step()
            self.module.lazy_reset_grad()
        self.replay.keep(latents, y)

    def head(self):
        weight, bias = (self.state.parameters[name].data for name in ("weight", "bias"))
        unseen = self.replay.seen == 0

        def predict(x):
            logits = x @ weight + bias
            logits[:, unseen] = -np.inf
            return logits.argmax(1)

        return predict


if __name__ == "__main__":
    makers = {f"{steps} steps, rate {rate}": partial(OrtHead, steps, rate) for steps in STEPS for rate in RATES}
    stream.main(makers, __doc__, "AdamW steps a chunk with class-balanced replay, 10 rows a class in 8 bits")
