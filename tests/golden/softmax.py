"""Makes softmax.json: scores of the softmax head after two updates, from an independent numpy implementation in f64.

    python softmax.py

The rows are the committed clips (tests/data/sonicpi.i8, scales in heads.json). Every batch holds each row of an update exactly
once, so the order in which rows are drawn cannot matter. In the second update replay holds 4 of the 6 rows of each old class,
so that the consolidation pulls.
"""

import json
import pathlib

import numpy as np

here = pathlib.Path(__file__).parent
golden = json.loads((here / "heads.json").read_text())
y = np.array(golden["y"])
steps = np.frombuffer((here.parent / "data" / "sonicpi.i8").read_bytes(), np.int8).reshape(-1, 512)
x = (steps.astype(np.float32) * np.array(golden["scale"], np.float32)).astype(np.float64)
settings = dict(learning_rate=0.004, weight_decay=2.0, consolidation=50.0, scale=10.0, smoothing=0.2, steps=7)


def unit(v):
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def update(w, b, seen, known, fresh, replay, learning_rate, weight_decay, consolidation, scale, smoothing, steps):
    """`seen`: rows of each class so far; `known`: which classes had weights before; w [C, D] and b [C] are changed."""
    means = np.array([x[rows].mean(0) for rows in seen])
    centre = means.mean(0)
    for c in range(len(w)):
        if not known[c]:
            w[c] = unit(means[c] - centre)
    rows = np.array(fresh + replay)
    u = unit(x[rows] - centre)
    target = np.array([[float(y[r] == c) for c in classes[: len(w)]] for r in rows])
    lost = np.array([1 - (y[rows] == c).sum() / len(seen[k]) for k, c in enumerate(classes[: len(w)])])[:, None]
    # The bias is the weight of a constant feature 1 / scale.
    u = np.c_[u, np.full(len(u), 1 / scale)]
    v = np.c_[w, b]
    start = v.copy()
    first, second = np.zeros_like(v), np.zeros_like(v)
    for t in range(1, steps + 1):
        z = scale * u @ v.T
        p = np.exp(z - z.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        error = p - ((1 - smoothing) * target + smoothing / len(w))
        gradient = scale * error.T @ u / len(u)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        eta = learning_rate * 0.5 * (1 + np.cos(np.pi * (t - 1) / steps))
        direction = (first / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
        v = v - eta * direction - eta * weight_decay * v - eta * consolidation * lost * (v - start)
    w[:], b[:] = v[:, :-1], v[:, -1]
    return centre


classes = [0, 1, 2]
of = [np.where(y == c)[0].tolist() for c in classes]
w, b = np.zeros((2, 512)), np.zeros(2)
first = of[0][:6] + of[1][:6]
update(w, b, [of[0][:6], of[1][:6]], [False, False], first, [], **settings)
w, b = np.r_[w, np.zeros((1, 512))], np.r_[b, 0]
replay = of[0][1:5] + of[1][2:6]
centre = update(w, b, [of[0][:6], of[1][:6], of[2][:4]], [True, True, False], of[2][:4], replay, **settings)
test = of[0][6:9] + of[1][6:9] + of[2][6:9]
scores = settings["scale"] * unit(x[test] - centre) @ w.T + b
json.dump(
    dict(
        settings=settings,
        updates=[dict(fresh=first, replay=[]), dict(fresh=of[2][:4], replay=replay)],
        test=test,
        scores=[[float(f"{z:.9g}") for z in row] for row in scores],
    ),
    open(here / "softmax.json", "w"),
    separators=(",", ":"),
)
