"""Calibrates a backbone's latent quantiser on folders of sounds, and writes the scales into its manifest.

    python calibrate.py --model FOLDER --manifest models/NAME/manifest.toml --calibrated-on "..." SOUNDS...

FOLDER holds the recipe's files; the first waveform variant is run. Each clip gives up to `--windows` windows without
overlap; a clip shorter than a window is repeated, and silent windows are left out. The rule, a dimension (science: a
bare percentile clips, a floor and a margin do not): s = the 99.9th percentile of |x|, at least half the median s, times
1.5; scale = s / (2^(bits-1) - 1). Needs numpy, scipy, soundfile and onnxruntime. `wheatear export --calibrate` is the
same rule for users; this script is what the committed scales come from.
"""

import argparse
import math
import os
import pathlib
import re
import sys

import numpy as np
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before it is loaded
import onnxruntime  # noqa: E402
import soundfile
from scipy.signal import resample_poly

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import graph_file  # noqa: E402

SUFFIXES = {".wav", ".flac", ".ogg", ".oga", ".aiff", ".mp3"}
SILENCE = 1e-4


def windows(path, audio, most):
    """Windows [samples] of a clip at the backbone's rate, mono, full scale 1."""
    try:
        samples, rate = soundfile.read(path, dtype="float64", always_2d=True)
    except soundfile.LibsndfileError as error:
        print(f"left out: {error}", file=sys.stderr)
        return
    samples, size = samples.mean(1), audio["window_samples"]
    step = math.gcd(audio["rate_hz"], rate)
    samples = resample_poly(samples, audio["rate_hz"] // step, rate // step) if len(samples) else samples
    if 0 < len(samples) < size:
        samples = np.resize(samples, size)
    for start in range(0, min(len(samples) - size + 1, most * size), size):
        window = samples[start : start + size]
        if np.abs(window).max() > SILENCE:
            yield window


def normalised(window, rule):
    if rule["kind"] == "peak":
        return window / max(np.abs(window).max(), rule["floor"])
    return window * rule["gain"]


def scales(embeddings, bits):
    """Scales [D] of embeddings [n, D]."""
    s = np.percentile(np.abs(embeddings), 99.9, axis=0)
    return np.maximum(s, 0.5 * np.median(s)) * 1.5 / (2 ** (bits - 1) - 1)


def embed(folder, manifest, paths, most):
    """Embeddings [n, D] of every window of the clips, scaled as the manifest says."""
    variant = next(v for v in manifest["variant"] if v["input"] == "waveform")
    session = onnxruntime.InferenceSession(folder / variant["file"])
    rows = []
    for path in paths:
        for window in windows(path, manifest["audio"], most):
            x = normalised(window, manifest["normalise"]).astype(np.float32).reshape(variant["input_shape"])
            rows.append(session.run([variant["output_name"]], {variant["input_name"]: x})[0].ravel())
    x = np.array(rows, np.float64)
    if manifest["embedding"]["scale"] == "sqrt-dim":
        x *= math.sqrt(x.shape[1]) / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30)
    return x


def main():
    args = argparse.ArgumentParser(description="Calibrates a backbone's latent quantiser on folders of sounds.")
    args.add_argument("sounds", nargs="+", type=pathlib.Path, help="folders of sounds")
    args.add_argument("--model", required=True, type=pathlib.Path, help="folder with the ONNX files")
    args.add_argument("--manifest", required=True, type=pathlib.Path, help="manifest.toml to write the scales into")
    args.add_argument("--calibrated-on", required=True, help="what the sounds are, for a person")
    args.add_argument("--windows", type=int, default=4, help="most windows a clip (4)")
    args.add_argument("--bits", type=int, default=8)
    args = args.parse_args()
    paths = sorted(p for folder in args.sounds for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    x = embed(args.model, graph_file.read_manifest(args.manifest), paths, args.windows)
    scale = [f"{s:.6g}" for s in scales(x, args.bits)]
    lines = ["  " + ", ".join(scale[i : i + 8]) + "," for i in range(0, len(scale), 8)]
    table = f'[quantiser]\nbits = {args.bits}\ncalibrated_on = "{args.calibrated_on}"\nscale = [\n' + "\n".join(lines) + "\n]\n"
    text = re.sub(r"\[quantiser\]\n.*?\n\]\n\n?", "", args.manifest.read_text(encoding="utf-8"), flags=re.S)
    head, variants = text.split("[[variant]]", 1)
    args.manifest.write_text(f"{head.rstrip()}\n\n{table}\n[[variant]]{variants}", encoding="utf-8")
    print(f"{len(paths)} clips, {len(x)} windows")


if __name__ == "__main__":
    main()
