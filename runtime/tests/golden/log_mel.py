"""Log-mel spectrograms of a test signal in plain numpy float64, written from the formulas: the oracle of log_mel.rs.

    pip install numpy scipy && python log_mel.py > log_mel.json

Formulas: frames without padding; Hann window from scipy.signal.get_window (periodic: fftbins=True), centred in n_fft;
mel scales of O'Shaughnessy 1987 (HTK) and Slaney 1998; triangles linear in hertz. Each case keeps three frames whole
and the sum of all.
"""

import json

import numpy as np
from scipy.signal import get_window

RATE_HZ, SAMPLES = 16000, 6000


def signal():
    """x[i] = 0.6 sin(2 pi 300 t) e^(-4 t) + 0.3 sin(2 pi (500 t + 4000 t^2)), t = i / 16000, rounded to f32."""
    t = np.arange(SAMPLES) / RATE_HZ
    x = 0.6 * np.sin(2 * np.pi * 300 * t) * np.exp(-4 * t) + 0.3 * np.sin(2 * np.pi * (500 * t + 4000 * t * t))
    return x.astype(np.float32).astype(np.float64)


def to_mel(hz, scale):
    if scale == "htk":
        return 2595 * np.log10(1 + hz / 700)
    linear = 3 * hz / 200
    return np.where(hz < 1000, linear, 15 + 27 * np.log(np.maximum(hz, 1) / 1000) / np.log(6.4))


def to_hz(mel, scale):
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))


def filters(c):
    ends = to_mel(np.array([c["f_min_hz"], c["f_max_hz"]], float), c["mel_scale"])
    edges = to_hz(np.linspace(*ends, c["mel_bands"] + 2), c["mel_scale"])
    bins = np.fft.rfftfreq(c["n_fft"], 1 / RATE_HZ)
    bank = np.array([np.interp(bins, edges[b : b + 3], [0, 1, 0]) for b in range(c["mel_bands"])])
    if c["mel_norm"] == "sum":
        bank /= np.maximum(bank.sum(1, keepdims=True), 1e-300)
    if c["mel_norm"] == "slaney":
        bank *= (2 / (edges[2:] - edges[:-2]))[:, None]
    return bank


def log_mel(x, c):
    window = np.zeros(c["n_fft"])
    left = (c["n_fft"] - c["window_length"]) // 2
    shape = get_window("hann", c["window_length"], fftbins=c["window"] == "hann-periodic")
    window[left : left + c["window_length"]] = shape
    frames = np.lib.stride_tricks.sliding_window_view(x, c["n_fft"])[:: c["hop_length"]]
    mel = np.abs(np.fft.rfft(frames * window)) ** c["power"] @ filters(c).T
    log = c["log"]
    if log["kind"] == "ln":
        mel = np.log(mel + log["add"])
    elif log["kind"] == "log10-one-plus":
        mel = np.log10(1 + log["factor"] * mel)
    elif log["kind"] == "decibel":
        mel = 10 * np.log10(np.maximum(mel, log["floor"]))
        mel = np.maximum(mel, mel.max() - log["range_db"]) if log["range_db"] else mel
    return mel * c["scale"] + c["offset"]


COMMON = {"n_fft": 512, "window_length": 512, "hop_length": 160, "f_min_hz": 0, "f_max_hz": 8000, "scale": 1, "offset": 0}
CASES = [
    {"window": "hann-periodic", "power": 2, "mel_bands": 40, "mel_scale": "slaney", "mel_norm": "slaney",
     "log": {"kind": "decibel", "floor": 1e-10, "range_db": 80.0}},
    {"window": "hann-symmetric", "power": 2, "mel_bands": 32, "mel_scale": "htk", "mel_norm": "sum",
     "log": {"kind": "log10-one-plus", "factor": 10000.0}, "scale": 0.105733},
    {"window": "hann-periodic", "power": 1, "mel_bands": 24, "mel_scale": "htk", "mel_norm": "none",
     "log": {"kind": "ln", "add": 0.01}, "f_min_hz": 60, "f_max_hz": 3800, "window_length": 400, "offset": 2.0},
    {"window": "hann-symmetric", "power": 1, "mel_bands": 64, "mel_scale": "slaney", "mel_norm": "none",
     "log": {"kind": "none"}, "window_length": 401, "hop_length": 333, "f_min_hz": 20, "f_max_hz": 7600},
    {"window": "hann-periodic", "power": 2, "mel_bands": 20, "mel_scale": "slaney", "mel_norm": "sum", "n_fft": 300,
     "window_length": 300, "log": {"kind": "decibel", "floor": 1e-6, "range_db": 0.0}, "f_min_hz": 100},
]


def main():
    x = signal()
    out = []
    for case in CASES:
        spec = COMMON | case
        y = log_mel(x, spec)
        rows = {str(i): [float(f"{v:.9g}") for v in y[i]] for i in (0, len(y) // 2, len(y) - 1)}
        out.append({"spec": spec, "frames": len(y), "rows": rows, "sum": float(f"{y.sum():.12g}")})
    print(json.dumps({"rate_hz": RATE_HZ, "samples": SAMPLES, "cases": out}, indent=1))


if __name__ == "__main__":
    main()
