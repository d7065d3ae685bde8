"""Makes random_features.json: integer random features of latents, from an independent numpy implementation (runtime/src/head/random.rs).

    python random_features.py

R is made as a dense matrix here, its entries drawn by splitmix64 as the file above describes; the latents are numpy's.
Each case: [D, F, seed, divisor], latents, their features, and the divisor that they calibrate (the least k with 99.9 % of |R q|
within 127 k).
"""

import json
import pathlib

import numpy as np

MASK = (1 << 64) - 1


def splitmix64(seed):
    while True:
        seed = (seed + 0x9E3779B97F4A7C15) & MASK
        x = seed
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
        yield x ^ (x >> 31)


def matrix(dim, features, seed):
    draw, components = splitmix64(seed), list(range(dim))
    r = np.zeros((features, dim), np.int64)
    for f in range(features):
        for i in range(min(32, dim)):
            x = next(draw)
            j = i + (((x >> 32) * (dim - i)) >> 32)
            components[i], components[j] = components[j], components[i]
            r[f, components[i]] = -1 if x & 1 else 1
    return r


cases = []
for dim, features, seed, divisor, rows, spread in [(96, 40, 0, 3, 24, 30), (512, 24, 2**64 - 1, 2, 12, 60), (7, 16, 77, 1, 8, 90)]:
    rng = np.random.default_rng(dim)
    latents = np.clip(np.rint(rng.normal(0, spread, (rows, dim))), -127, 127).astype(np.int64)
    sums = latents @ matrix(dim, features, seed).T
    made = np.minimum(np.maximum(sums, 0) // divisor, 127)
    sorted_sums = np.sort(np.abs(sums).ravel())
    held = sorted_sums[int(np.ceil(0.999 * sorted_sums.size)) - 1]
    cases.append(
        dict(
            fields=[dim, features, seed, divisor],
            calibrated=max(1, int(-(-held // 127))),
            latents=latents.tolist(),
            features=made.tolist(),
        )
    )
(pathlib.Path(__file__).parent / "random_features.json").write_text(json.dumps(dict(cases=cases)) + "\n")
