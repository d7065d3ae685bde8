"""Adapter for river's classifiers: one call of learn_one a row, a row is a dict of its components."""

import numpy as np


class River:
    """A river classifier; rows become dicts before the clock starts."""

    def __init__(self, model, dim, classes, scale, rng):
        self.model = model()

    def prepare(self, x, latents, y):
        return [(as_dict(row), int(c)) for row, c in zip(x, y)]

    def learn(self, rows):
        for x, c in rows:
            self.model.learn_one(x, c)

    def head(self):
        return lambda x: np.array([self.model.predict_one(as_dict(row)) for row in x])


def as_dict(row):
    """A row as river takes it."""
    return dict(enumerate(row.tolist()))
