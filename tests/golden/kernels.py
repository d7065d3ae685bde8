"""Digests of what the kernels must give on every machine, from numpy: `python tests/golden/kernels.py` prints the numbers
that stand in runtime/src/kernel/tests/{packed,predict}.rs. Nothing of the runtime is used."""

import zlib

import numpy as np


def latents(count, bits):
    k = np.arange(count, dtype=np.int64)
    return -(1 << (bits - 1)) + (k * 7919 + 13) % (1 << bits)


def packed(dim=1000, rows=40):
    query = latents(dim, 8)
    per_width = {"dot": [], "distance": []}
    for bits in range(4, 9):
        x = latents(rows * dim, bits).reshape(rows, dim)
        per_width["dot"].append(x @ query)
        per_width["distance"].append(((query - x) ** 2).sum(axis=1))
    for measure, sums in per_width.items():
        print(measure, zlib.crc32(np.concatenate(sums).astype("<i4").tobytes()))


def predict(dim=1003, classes=37):
    def numbers(count):
        k = np.arange(count, dtype=np.int64)
        return ((k * 7919 + 13) % 2003).astype(np.float32) / np.float32(37.0) - np.float32(27.0)

    weights, bias = numbers(classes * dim).reshape(classes, dim), numbers(classes)
    k = np.arange(dim, dtype=np.int64)
    latent = ((k * 7919 + 13) % 256).astype(np.uint8).view(np.int8).astype(np.float32)
    products = weights * latent
    assert products.dtype == np.float32
    whole = dim // 8 * 8
    lanes = np.zeros((classes, 8), np.float32)
    for eight in products[:, :whole].reshape(classes, -1, 8).swapaxes(0, 1):
        lanes += eight
    rest = np.zeros(classes, np.float32)
    for product in products[:, whole:].T:
        rest += product
    a, b, c, d, e, f, g, h = lanes.T
    scores = ((a + e) + (c + g)) + ((b + f) + (d + h)) + rest + bias
    print("predict", zlib.crc32(scores.astype("<f4").tobytes()))


packed()
predict()
