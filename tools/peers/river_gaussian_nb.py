"""Peer: river's GaussianNB, one row at a time: a mean and a variance for each class and dimension."""

from functools import partial

from river.naive_bayes import GaussianNB

import stream
from river_learner import River

if __name__ == "__main__":
    stream.main({"": partial(River, GaussianNB)}, __doc__, "the strongest of river's models that keep no rows")
