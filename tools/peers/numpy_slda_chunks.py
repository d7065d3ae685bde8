"""Peer: the statistics of streaming LDA in numpy, one matrix product a chunk (BLAS in f32): the fastest numpy has for it."""

import numpy as np

import slda
import stream


class SldaChunks:
    """Sums and products of rows; the within-class scatter is worked out when a head is solved."""

    def __init__(self, dim, classes, scale, rng):
        self.sums = np.zeros((classes, dim))
        self.counts = np.zeros(classes)
        self.gram = np.zeros((dim, dim), np.float32)

    def prepare(self, x, latents, y):
        return x, y

    def learn(self, rows):
        x, y = rows
        self.gram += x.T @ x
        np.add.at(self.sums, y, x)
        np.add.at(self.counts, y, 1)

    def head(self):
        means = self.sums / np.maximum(self.counts, 1)[:, None]
        scatter = self.gram.astype(np.float64) - self.sums.T @ means
        return slda.solve(scatter, means, self.counts)


if __name__ == "__main__":
    stream.main({"": SldaChunks}, __doc__, "one f32 matrix product a chunk, shrinkage as ours, one solve a task")
