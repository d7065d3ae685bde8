"""Makes the aisfx backbone's ONNX files from the aisfx wheel: mel and waveform input, f32 and f16.

    python recipe.py --package aisfx-0.1.2-py2.py3-none-any.whl --out FOLDER

The network is the package's embedding net (four blocks of two 3x3 convolutions with batch norm and ReLU, max-pooled
2x2 after the first three, mean over mel, maximum over time), its batch norm folded into the convolutions in float64.
The waveform graphs hold the log-mel front end of manifest.toml as well; peak normalisation stays outside. Needs numpy
and onnx as pinned in models/requirements.txt, and no PyTorch.
"""

import argparse
import math
import pathlib
import sys

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import checkpoint  # noqa: E402
import graph_file  # noqa: E402

WHEEL_SHA256 = "bfe219950715af179e9a1653e7117cc1852baef267cd6596c42cad74afe1d194"
CHECKPOINT = "aisfx/models/checkpoint.pth"
POOLED = (True, True, True, False)
BATCH_NORM_EPS = 1e-5


def hann(length, symmetric):
    period = length - 1 if symmetric else length
    return [0.5 - 0.5 * math.cos(2 * math.pi * i / period) for i in range(length)]


def htk_mel_weights(bands, n_fft, rate_hz, f_min_hz, f_max_hz):
    """Triangles on the HTK mel scale, linear in hertz, each divided by its sum: rows of `n_fft / 2 + 1` weights."""
    mel = lambda f: 2595 * math.log10(1 + f / 700)  # noqa: E731
    low, high = mel(f_min_hz), mel(f_max_hz)
    edges = [700 * (10 ** ((low + (high - low) * i / (bands + 1)) / 2595) - 1) for i in range(bands + 2)]
    rows = []
    for left, centre, right in zip(edges, edges[1:], edges[2:]):
        hertz = [k * rate_hz / n_fft for k in range(n_fft // 2 + 1)]
        row = [max(0.0, min((f - left) / (centre - left), (right - f) / (right - centre))) for f in hertz]
        total = math.fsum(row)
        rows.append([w / total for w in row])
    return rows


def power_mel_constants(spec, rate_hz):
    """Constants of a real DFT in two matrix products, and of the mel product that follows (float64 to f32).

    With N = A B, n = B a + b, k = c + A d the DFT is sum_b W_N^(b c) W_B^(b d) sum_a x[B a + b] W_A^(a c) (Cooley and
    Tukey 1965). A real signal needs only c = 0..A/2: the other bins mirror them. The twiddle W_N^(b c) is part of the
    second matrix.
    """
    n, a_size = spec["n_fft"], 32
    b_size, kept = n // a_size, a_size // 2 + 1
    turn = [(math.cos(2 * math.pi * i / n), -math.sin(2 * math.pi * i / n)) for i in range(n)]
    first = np.zeros((2 * kept, a_size))
    second = np.zeros((kept, 2 * b_size, 2 * b_size))
    mel = htk_mel_weights(spec["mel_bands"], n, rate_hz, spec["f_min_hz"], spec["f_max_hz"])
    last = np.zeros((kept, 2 * b_size, spec["mel_bands"]))
    seen = set()
    for c in range(kept):
        for a in range(a_size):
            first[2 * c, a], first[2 * c + 1, a] = turn[a * c * b_size % n]
        for d in range(b_size):
            k = c + a_size * d
            for b in range(b_size):
                re, im = turn[b * k % n]
                second[c, b, d], second[c, b_size + b, d] = re, -im
                second[c, b, b_size + d], second[c, b_size + b, b_size + d] = im, re
            k = min(k, n - k)
            if k not in seen:
                seen.add(k)
                last[c, d] = last[c, b_size + d] = [row[k] for row in mel]
    assert len(seen) == n // 2 + 1
    return [x.astype(np.float32) for x in (first, second, last.reshape(-1, spec["mel_bands"]))]


def front_end(g, samples, frames, spec, rate_hz):
    """Samples [1, (frames + 1) * hop] to features [1, 1, frames, mel]: frames overlap by half, log10(1 + factor m)."""
    n, hop, bands = spec["n_fft"], spec["hop_length"], spec["mel_bands"]
    assert n == 2 * hop == spec["window_length"] and spec["power"] == 2 and n % 64 == 0
    assert (spec["mel_scale"], spec["mel_norm"], spec["log"]["kind"]) == ("htk", "sum", "log10-one-plus")
    window = np.array(hann(n, spec["window"] == "hann-symmetric")).astype(np.float32)
    first, second, mel = power_mel_constants(spec, rate_hz)
    ints = lambda name, values: g.constant(name, np.array(values, np.int64))  # noqa: E731
    hops = g.node("Reshape", [samples, ints("hops_shape", [frames + 1, hop])], "hops")
    zero, one, last, end = (ints(f"row_{i}", [i]) for i in (0, 1, frames, frames + 1))
    halves = [g.node("Slice", [hops, zero, last, zero], "half_left"), g.node("Slice", [hops, one, end, zero], "half_right")]
    framed = g.node("Concat", halves, "frames", axis=1)
    framed = g.node("Mul", [framed, g.constant("window", window)], "windowed")
    framed = g.node("Reshape", [framed, ints("dft_shape", [frames, 32, n // 32])], "dft_input")
    x = g.node("MatMul", [g.constant("dft_first", first), framed], "dft_step")
    x = g.node("Reshape", [x, ints("step_shape", [frames, 17, n // 16])], "dft_step_rows")
    x = g.node("Transpose", [x], "dft_step_columns", perm=[1, 0, 2])
    x = g.node("MatMul", [x, g.constant("dft_second", second)], "spectrum")
    x = g.node("Mul", [x, x], "spectrum_squared")
    x = g.node("Transpose", [x], "spectrum_frames", perm=[1, 0, 2])
    x = g.node("Reshape", [x, ints("power_shape", [frames, 17 * n // 16])], "power")
    x = g.node("MatMul", [x, g.constant("mel_weights", mel)], "mel")
    scalar = lambda name, value: g.constant(name, np.array(value).astype(np.float32))  # noqa: E731
    x = g.node("Mul", [x, scalar("log_factor", spec["log"]["factor"])], "mel_scaled")
    x = g.node("Add", [x, scalar("log_one", 1.0)], "mel_plus_one")
    x = g.node("Log", [x], "mel_ln")
    x = g.node("Mul", [x, scalar("log_scale", spec["scale"] / math.log(10))], "log_mel")
    return g.node("Reshape", [x, ints("features_shape", [1, 1, frames, bands])], "features")


def network(g, x, tensors, dtype):
    """Features [1, 1, frames, mel] to the embedding [1, 512]; convolutions in `dtype`, the pooling at the end in f32."""
    if dtype != np.float32:
        x = g.cast(x, dtype)
    for block, pooled in enumerate(POOLED, 1):
        for layer in (1, 2):
            weight, bias = folded(tensors, f"embedding_net.conv_block{block}", layer)
            name = f"block{block}_conv{layer}"
            inputs = [x, g.constant(f"{name}_weight", weight.astype(dtype)), g.constant(f"{name}_bias", bias.astype(dtype))]
            x = g.node("Conv", inputs, name, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
            x = g.node("Relu", [x], f"block{block}_relu{layer}")
        if pooled:
            x = g.node("MaxPool", [x], f"block{block}_pool", kernel_shape=[2, 2], strides=[2, 2])
    if dtype != np.float32:
        x = g.cast(x, np.float32)
    x = g.node("ReduceMean", [x], "mean_over_mel", axes=[3], keepdims=0)
    return g.node("ReduceMax", [x], "embedding", axes=[2], keepdims=0)


def folded(tensors, block, layer):
    """Weight and bias of a convolution with its batch norm, in float64 (each operation correctly rounded)."""
    norm = {k: tensors[f"{block}.bn{layer}.{k}"].astype(np.float64) for k in ("weight", "bias", "running_mean", "running_var")}
    gain = norm["weight"] / np.sqrt(norm["running_var"] + BATCH_NORM_EPS)
    weight = tensors[f"{block}.conv{layer}.weight"].astype(np.float64) * gain[:, None, None, None]
    return weight, norm["bias"] - norm["running_mean"] * gain


def build(manifest, variant, tensors):
    g, spec, audio = graph_file.Graph("aisfx"), manifest["front_end"], manifest["audio"]
    frames = 1 + (audio["window_samples"] - spec["n_fft"]) // spec["hop_length"]
    x = variant["input_name"]
    if variant["input"] == "waveform":
        x = front_end(g, x, frames, spec, audio["rate_hz"])
    network(g, x, tensors, {"f32": np.float32, "f16": np.float16}[variant["precision"]])
    return g.model(variant["input_name"], variant["input_shape"], "embedding", [1, manifest["embedding"]["dim"]])


def main():
    args = argparse.ArgumentParser(description="Makes the aisfx backbone's ONNX files from the aisfx wheel.")
    args.add_argument("--package", required=True, help="the wheel aisfx-0.1.2-py2.py3-none-any.whl")
    args.add_argument("--out", required=True, help="folder for the ONNX files and a copy of the manifest")
    args.add_argument("--update-manifest", action="store_true", help="write the built files' digests into manifest.toml")
    args = args.parse_args()
    tensors = checkpoint.read(graph_file.member(args.package, WHEEL_SHA256, CHECKPOINT))
    return graph_file.save_variants(
        HERE / "manifest.toml", args.out, lambda manifest, variant: build(manifest, variant, tensors), args.update_manifest
    )


if __name__ == "__main__":
    sys.exit(main())
