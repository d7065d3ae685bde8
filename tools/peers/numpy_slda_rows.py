"""Peer: streaming LDA in numpy, one row at a time, by the update of Hayes & Kanan 2020 (covariance and means running)."""

import numpy as np

import slda
import stream


class SldaRows:
    """Means and within-class scatter, updated with the outer product of each row, f32."""

    def __init__(self, dim, classes, scale, rng):
        self.means = np.zeros((classes, dim), np.float32)
        self.counts = np.zeros(classes)
        self.scatter = np.zeros((dim, dim), np.float32)
        self.outer = np.empty((dim, dim), np.float32)

    def prepare(self, x, latents, y):
        return x, y

    def learn(self, rows):
        for x, c in zip(*rows):
            n = self.counts[c]
            delta = x - self.means[c]
            if n > 0:
                np.outer(delta * np.float32(n / (n + 1)), delta, out=self.outer)
                self.scatter += self.outer
            self.counts[c] = n + 1
            self.means[c] += delta / np.float32(n + 1)

    def head(self):
        return slda.solve(self.scatter, self.means, self.counts)


if __name__ == "__main__":
    stream.main({"": SldaRows}, __doc__, "Hayes & Kanan's update a row in f32, shrinkage as ours, one solve a task")
