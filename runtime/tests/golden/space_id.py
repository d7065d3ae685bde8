"""Prints the space_id of manifests, computed from runtime/docs/format.md alone: python3 space_id.py MANIFEST.toml..."""
import hashlib
import struct
import sys
import tomllib


def bits(x):
    return struct.pack(">f", x).hex()


for path in sys.argv[1:]:
    with open(path, "rb") as file:
        m = tomllib.load(file)
    a, n, f, e, q = m["audio"], m["normalise"], m["front_end"], m["embedding"], m["quantiser"]
    lines = ["wheatear-space 1", "modality " + m["modality"], "reference " + m["variant"][0]["sha256"]]
    lines.append(f"window {a['rate_hz']} {a['window_samples']} {a['hop_samples']}")
    lines.append("normalise " + ("peak " + bits(n["floor"]) if n["kind"] == "peak" else "none " + bits(n["gain"])))
    if f["kind"] == "log-mel":
        lines.append(f"stft {f['n_fft']} {f['window_length']} {f['hop_length']} {f['window']} {bits(f['power'])}")
        lines.append(f"mel {f['mel_bands']} {f['mel_scale']} {f['mel_norm']} {bits(f['f_min_hz'])} {bits(f['f_max_hz'])}")
        log = f["log"]
        numbers = [bits(log[k]) for k in ("add", "factor", "floor", "range_db") if k in log]
        lines.append(" ".join(["log", log["kind"]] + numbers))
        lines.append(f"affine {bits(f.get('scale', 1.0))} {bits(f.get('offset', 0.0))}")
    lines.append(f"embedding {e['dim']} {e['scale']}")
    lines.append(" ".join([f"latent {q['bits']}"] + [bits(s) for s in q["scale"]]))
    print(hashlib.sha256(("\n".join(lines) + "\n").encode()).hexdigest())
