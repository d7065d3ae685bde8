"""Peer: scikit-learn's SGDClassifier with logistic loss, taught by partial_fit from fresh rows and class-balanced replay."""

from functools import partial

import numpy as np
from sklearn.linear_model import SGDClassifier

import stream
from replay import Replay

# Passes over each chunk with its replayed rows, and the rates tried with them.
RATES = {4: (0.01, 0.03, 0.1), 16: (0.01, 0.03)}


class Sgd:
    """One logistic regression a class, in which a class that has not come yet is never chosen."""

    def __init__(self, passes, rate, dim, classes, scale, rng):
        self.passes = passes
        seed = int(rng.integers(2**31))
        self.model = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=rate, random_state=seed)
        self.replay = Replay(dim, classes, scale, rng)
        self.classes = np.arange(classes)

    def prepare(self, x, latents, y):
        return x, latents, y

    def learn(self, rows):
        x, latents, y = rows
        for _ in range(self.passes):
            self.model.partial_fit(*self.replay.mixed(x, y), classes=self.classes)
        self.replay.keep(latents, y)

    def head(self):
        unseen = self.replay.seen == 0

        def predict(x):
            scores = self.model.decision_function(x)
            scores[:, unseen] = -np.inf
            return scores.argmax(1)

        return predict


if __name__ == "__main__":
    makers = {f"{n} passes, eta0 {rate}": partial(Sgd, n, rate) for n, rates in RATES.items() for rate in rates}
    stream.main(makers, __doc__, "passes of partial_fit a chunk with class-balanced replay, 10 rows a class in 8 bits")
