"""Class-balanced replay of 8-bit latents, for the peers that need to be reminded.

The budget is fixed: 10 rows for each class there will be. While there is room every row is kept; then the class with most
rows makes way, and within it each row seen has the same chance to stay (reservoir sampling, as the lab's reference has it).
"""

import numpy as np

ROWS_PER_CLASS = 10
REPLAYED_PER_FRESH = 3


class Replay:
    """Latents [rows, D] with their classes; `scale` is the value of one step a dimension."""

    def __init__(self, dim, classes, scale, rng):
        self.latents = np.zeros((ROWS_PER_CLASS * classes, dim), np.int8)
        self.y = np.zeros(ROWS_PER_CLASS * classes, np.int64)
        self.rows = 0
        self.seen = np.zeros(classes, np.int64)
        self.scale = scale
        self.rng = rng

    def keep(self, latents, y):
        """Offers a chunk of latents [k, D] with classes [k]."""
        for latent, c in zip(latents, y):
            self.seen[c] += 1
            at = self.place(c)
            if at is not None:
                self.latents[at], self.y[at] = latent, c

    def place(self, c):
        """Where a row of class `c` goes, or nowhere."""
        if self.rows < len(self.y):
            self.rows += 1
            return self.rows - 1
        held = np.bincount(self.y, minlength=len(self.seen))
        largest = c if held[c] == held.max() else int(held.argmax())
        own = np.flatnonzero(self.y == largest)
        if c == largest and self.rng.random() >= len(own) / self.seen[c]:
            return None
        return self.rng.choice(own)

    def mixed(self, x, y):
        """A batch in random order: the fresh rows and three held ones for each, classes equally likely."""
        if self.rows:
            held = self.y[: self.rows]
            weight = 1.0 / np.bincount(held, minlength=len(self.seen))[held]
            count = min(self.rows, REPLAYED_PER_FRESH * len(y))
            picked = self.rng.choice(self.rows, count, p=weight / weight.sum())
            x = np.concatenate([x, self.latents[picked] * self.scale])
            y = np.concatenate([y, held[picked]])
        order = self.rng.permutation(len(y))
        return x[order], y[order]
