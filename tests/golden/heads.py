"""Makes tests/data/sonicpi.i8 and tests/golden/heads.json: golden scores of every head from the numpy implementation.

    python heads.py EMBEDDINGS.npz      (133 clips of Debian's sonic-pi-samples, CC0, embedded by the aisfx backbone)

sonicpi.i8 holds the 8-bit latents, row-major [133, 512]. heads.json holds labels, names, scales, the order in which rows
are learned (two classes a task, chunks of 16), the rows tested, and each head's scores of them [rows, classes].
"""

import json
import pathlib
import sys

import numpy as np

from reference_heads import Naive, Ncm, Ridge, Slda, chunks, load

here = pathlib.Path(__file__).parent
x, y, _ = load(sys.argv[1])
names = [str(n) for n in np.load(sys.argv[1])["names"]]
rng = np.random.default_rng(7)
classes = rng.permutation(len(names))
train, test = [], []
for c in classes.reshape(-1, 2):
    rows = rng.permutation(np.where(np.isin(y, c))[0])
    cut = len(rows) * 3 // 4
    train += rows[:cut].tolist()
    test += rows[cut:].tolist()
top = np.percentile(np.abs(x[train]), 99.9, axis=0)
scale = (np.maximum(top, 0.5 * np.median(top)) * 1.5 / 127).astype(np.float32)
latents = np.clip(np.round(x / scale), -127, 127).astype(np.int8)
(here.parent / "data" / "sonicpi.i8").write_bytes(latents.tobytes())
# What a head sees is f32.
q = (latents.astype(np.float32) * scale).astype(np.float64)
heads = dict(naive=Naive(512, len(names), 0.003), ncm=Ncm(512, len(names)), slda=Slda(512, len(names)), ridge=Ridge(512, len(names)))
stream = [rows.tolist() for rows in chunks(train, y, 2, 16)]
for rows in stream:
    for head in heads.values():
        head.learn(q[rows], y[rows])
test = test[:24]
scores = {name: head.scores(q[test]) for name, head in heads.items()}
# The negative squared distance as a linear score.
scores["ncm"] = (scores["ncm"] + (q[test] ** 2).sum(1, keepdims=True)) / 2
json.dump(
    dict(
        names=names,
        y=y.tolist(),
        scale=[float(s) for s in scale],
        chunks=stream,
        test=test,
        scores={k: [[float(f"{z:.9g}") for z in row] for row in v] for k, v in scores.items()},
    ),
    open(here / "heads.json", "w"),
    indent=None,
    separators=(",", ":"),
)
