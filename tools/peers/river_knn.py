"""Peer: river's KNNClassifier, which keeps every row and compares with all of them when asked."""

from functools import partial

from river.neighbors import KNNClassifier, LazySearch

import stream
from river_learner import River

NEIGHBOURS = (1, 5)
ALL_ROWS = 1_000_000


def model(neighbours):
    """A classifier that forgets nothing in a stream of this length."""
    return KNNClassifier(n_neighbors=neighbours, engine=LazySearch(window_size=ALL_ROWS))


if __name__ == "__main__":
    makers = {f"{k} neighbours": partial(River, partial(model, k)) for k in NEIGHBOURS}
    stream.main(makers, __doc__, "keeps every row: learning is only storing, the work is done at each prediction")
