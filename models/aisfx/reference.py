"""The aisfx backbone in plain numpy float64, written from its paper and package and apart from recipe.py: the oracle.

    python reference.py --package aisfx-0.1.2-py2.py3-none-any.whl > golden.json

writes golden.json: the log-mel values and the embedding of a test signal that any language can make sample by sample.
"""

import argparse
import hashlib
import json
import pathlib
import sys

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import checkpoint  # noqa: E402
import graph_file  # noqa: E402

RATE_HZ, WINDOW, N_FFT, HOP, BANDS = 44100, 45056, 2048, 1024, 96
LOG_MAX = 9.457798957824707


def test_signal(samples=WINDOW):
    """x[i] = 0.5 e^(-3 t) (sin(2 pi 440 t) + 0.5 sin(2 pi 3000 t)) + 0.2 t sin(2 pi (200 t + 1500 t^2)), t = i / 44100.

    float64, then rounded to f32; a chirp under a decaying two-tone, never silent.
    """
    t = np.arange(samples) / RATE_HZ
    tones = 0.5 * np.exp(-3 * t) * (np.sin(2 * np.pi * 440 * t) + 0.5 * np.sin(2 * np.pi * 3000 * t))
    chirp = 0.2 * t * np.sin(2 * np.pi * (200 * t + 1500 * t * t))
    return (tones + chirp).astype(np.float32).astype(np.float64)


def peak_normalised(x, floor):
    return x / max(np.abs(x).max(), floor)


def mel_filters():
    """HTK mel triangles over the FFT bins, each with unit sum."""
    top = 2595 * np.log10(1 + (RATE_HZ / 2) / 700)
    edges = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(N_FFT, 1 / RATE_HZ)
    filters = np.array([np.interp(bins, edges[b : b + 3], [0, 1, 0]) for b in range(BANDS)])
    return filters / filters.sum(1, keepdims=True)


def log_mel(x):
    """Samples to [frames, 96]: frames without padding."""
    frames = np.lib.stride_tricks.sliding_window_view(x, N_FFT)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(N_FFT))) ** 2
    return np.log10(1 + 10000 * power @ mel_filters().T) / LOG_MAX


def embed(features, tensors):
    """[frames, 96] to [512], batch norm unfolded."""
    x = features[None]
    for block in range(1, 5):
        for layer in (1, 2):
            norm = lambda k: tensors[f"embedding_net.conv_block{block}.bn{layer}.{k}"][:, None, None]  # noqa: B023, E731
            x = convolve(x, tensors[f"embedding_net.conv_block{block}.conv{layer}.weight"].astype(np.float64))
            x = (x - norm("running_mean")) / np.sqrt(norm("running_var") + np.float64(1e-5)) * norm("weight") + norm("bias")
            x = np.maximum(x, 0)
        if block < 4:
            c, t, f = x.shape
            x = x[:, : t // 2 * 2, : f // 2 * 2].reshape(c, t // 2, 2, f // 2, 2).max((2, 4))
    return x.mean(2).max(1)


def convolve(x, weight):
    """Cross-correlation of [in, t, f] with [out, in, 3, 3], zeros around."""
    _, t, f = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    return sum(np.tensordot(weight[:, :, i, j], padded[:, i : i + t, j : j + f], 1) for i in range(3) for j in range(3))


def main():
    args = argparse.ArgumentParser(description="Prints golden.json, the test values of the aisfx backbone.")
    args.add_argument("--package", required=True, help="the wheel aisfx-0.1.2-py2.py3-none-any.whl")
    wheel = args.parse_args().package
    digest = hashlib.sha256(pathlib.Path(wheel).read_bytes()).hexdigest()
    tensors = checkpoint.read(graph_file.member(wheel, digest, "aisfx/models/checkpoint.pth"))
    floor = graph_file.read_manifest(HERE / "manifest.toml")["normalise"]["floor"]
    signal = test_signal()
    features = log_mel(peak_normalised(signal, floor))
    embedding = embed(features, tensors)
    golden = {
        "signal": test_signal.__doc__.strip().split("\n")[0],
        "rate_hz": RATE_HZ,
        "samples": WINDOW,
        "peak": float(np.abs(signal).max()),
        "sample_at": {str(i): float(signal[i]) for i in (0, 1, 100, 30000, WINDOW - 1)},
        "log_mel_first_16": {str(i): [float(f"{v:.9g}") for v in features[i, :16]] for i in (0, 1, 20, len(features) - 1)},
        "log_mel_sum": float(f"{features.sum():.12g}"),
        "embedding": [float(f"{v:.9g}") for v in embedding],
    }
    print(json.dumps(golden, indent=1))


if __name__ == "__main__":
    main()
