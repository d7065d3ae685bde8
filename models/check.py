"""Checks built backbones against their golden values: every variant in ONNX Runtime, features from numpy float64.

    python check.py FOLDER [FOLDER...]      (each with manifest.toml and the ONNX files; needs numpy and onnxruntime)

Prints, for each variant, the relative distance and the cosine between its embedding and golden.json's, and the median
time of a window on one thread; fails when f32 is farther than 1e-3 or f16 than 1e-2.
"""

import importlib.util
import json
import os
import pathlib
import sys
import time

import numpy as np
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before it is loaded
import onnxruntime  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import graph_file  # noqa: E402

LIMIT = {"f32": 1e-3, "f16": 1e-2}


def reference(name):
    """The module models/<name>/reference.py."""
    sys.path.insert(0, str(HERE / name))
    spec = importlib.util.spec_from_file_location(f"{name}_reference", HERE / name / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def inputs(manifest, oracle):
    """Samples as the graphs take them, and the features of those samples."""
    x, rule = oracle.test_signal().astype(np.float64), manifest["normalise"]
    x = x / max(np.abs(x).max(), rule["floor"]) if rule["kind"] == "peak" else x * rule["gain"]
    return {"waveform": x, "features": oracle.log_mel(x)}


def main():
    options, failed = onnxruntime.SessionOptions(), False
    options.intra_op_num_threads = 1
    for folder in map(pathlib.Path, sys.argv[1:]):
        manifest = graph_file.read_manifest(folder / "manifest.toml")
        given = inputs(manifest, reference(manifest["name"]))
        expected = np.array(json.loads((HERE / manifest["name"] / "golden.json").read_text())["embedding"])
        for v in manifest["variant"]:
            session = onnxruntime.InferenceSession(folder / v["file"], options)
            x = {v["input_name"]: given[v["input"]].astype(np.float32).reshape(v["input_shape"])}
            times = []
            for _ in range(20):
                start = time.perf_counter()
                found = session.run([v["output_name"]], x)[0].ravel().astype(np.float64)
                times.append(1000 * (time.perf_counter() - start))
            relative = np.linalg.norm(found - expected) / np.linalg.norm(expected)
            cosine = found @ expected / np.linalg.norm(found) / np.linalg.norm(expected)
            ok = relative <= LIMIT[v["precision"]]
            failed |= not ok
            print(f"{manifest['name']} {v['name']:9} relative {relative:.2e} cosine {cosine:.7f} {np.median(times):.2f} ms {'ok' if ok else 'FAR'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
