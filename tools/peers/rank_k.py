"""Time that numpy's and scipy's BLAS take to add the outer products of a chunk of rows to a Gram matrix in f32, one thread, beside the
integer update of `cargo xtask bench learn`: D=1024 and 32 rows unless told otherwise.

    OPENBLAS_NUM_THREADS=1 python rank_k.py [D] [ROWS]
"""

import json
import statistics
import sys
import time

import numpy as np
from scipy.linalg.blas import ssyrk

dim = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
rows = int(sys.argv[2]) if len(sys.argv) > 2 else 32
x = np.random.default_rng(0).integers(-127, 128, (rows, dim)).astype(np.float32)


def median(update):
    seconds = []
    for _ in range(101):
        start = time.perf_counter()
        update()
        seconds.append(time.perf_counter() - start)
    return {"median_us": 1e6 * statistics.median(seconds), "least_us": 1e6 * min(seconds)}


full = np.zeros((dim, dim), np.float32)
half = np.zeros((dim, dim), np.float32, order="F")
scratch = np.empty((dim, dim), np.float32)


def plain():
    global full
    full += x.T @ x


def into():
    np.matmul(x.T, x, out=scratch)
    np.add(full, scratch, out=full)


def by_row():
    for row in x:
        full.__iadd__(np.outer(row, row))


def triangle():
    global half
    half = ssyrk(1.0, x.T, beta=1.0, c=half, overwrite_c=1)


print(json.dumps({"dim": dim, "rows": rows, "gram += x.T @ x": median(plain), "matmul into scratch, add": median(into), "ssyrk": median(triangle), "np.outer a row": median(by_row)}))
