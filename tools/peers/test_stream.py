"""Tests of what the peers share: python -m unittest discover tools/peers"""

import json
import pathlib
import tempfile
import unittest

import numpy as np

import stream
from replay import Replay


def data(rows=60, classes=5):
    """Rows 0, 1 of class 0, rows 2, 3 of class 1, and so on round."""
    x = np.random.default_rng(0).normal(size=(rows, 4)).astype(np.float32)
    return stream.Data(x, np.arange(rows) // 2 % classes, classes)


class Stream(unittest.TestCase):
    def test_chunks_do_not_cross_tasks_and_keep_the_order(self):
        d = data()
        train = [row for c in (3, 0, 4, 1, 2) for row in range(60) if d.y[row] == c]
        chunks = stream.tasks(train, d.y)
        self.assertEqual([[len(c) for c in task] for task in chunks], [[16, 8], [16, 8], [12]])
        self.assertEqual([row for task in chunks for chunk in task for row in chunk], train)

    def test_tasks_that_are_mixed_are_refused(self):
        d = data()
        with self.assertRaisesRegex(stream.WrongInput, "do not follow each other"):
            stream.tasks(list(range(60)), d.y)

    def test_accuracy_is_the_mean_over_classes_not_over_rows(self):
        found = stream.mean_class_accuracy(np.array([0, 0, 1, 0]), np.array([0, 0, 0, 1]))
        self.assertAlmostEqual(found, 1 / 3)

    def test_splits_that_do_not_belong_to_the_data_are_refused(self):
        d = data()
        for split, part in (
            ("no json", "cannot be read"),
            ([], "no split"),
            ([{"seed": 0, "fold": 0, "train": [0], "test": [60]}], "no such row"),
            ([{"seed": 0, "fold": 0, "train": [0, 1], "test": [1]}], "stands twice"),
            ([{"seed": 0, "fold": 0, "train": [0], "test": []}], "nothing to learn"),
        ):
            with self.subTest(part), tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder) / "splits.json"
                path.write_text(split if isinstance(split, str) else json.dumps(split), encoding="utf-8")
                with self.assertRaisesRegex(stream.WrongInput, part):
                    stream.read_splits(path, d)

    def test_embeddings_without_labels_are_refused_by_name(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "x.npz"
            np.savez(path, X=np.ones((2, 3), np.float32), names=np.array(["a"]))
            with self.assertRaisesRegex(stream.WrongInput, "expected y, found X, names"):
                stream.read_data(path)


class Held(unittest.TestCase):
    def test_replay_keeps_its_budget_and_the_classes_even(self):
        replay = Replay(dim=1, classes=4, scale=np.ones(1, np.float32), rng=np.random.default_rng(0))
        for c in range(4):
            replay.keep(np.full((50, 1), c, np.int8), np.full(50, c))
            self.assertEqual(replay.rows, 40)
        self.assertEqual(np.bincount(replay.y).tolist(), [10, 10, 10, 10])
        self.assertTrue((replay.latents[:, 0] == replay.y).all())

    def test_a_batch_holds_the_fresh_rows_and_three_held_ones_for_each(self):
        replay = Replay(dim=1, classes=2, scale=np.ones(1, np.float32), rng=np.random.default_rng(0))
        x, y = np.full((4, 1), 7, np.float32), np.ones(4, np.int64)
        self.assertEqual(len(replay.mixed(x, y)[1]), 4)
        replay.keep(np.zeros((20, 1), np.int8), np.zeros(20, np.int64))
        mixed, labels = replay.mixed(x, y)
        self.assertEqual((np.sum(mixed == 7), np.sum(labels == 0)), (4, 12))
        self.assertEqual(mixed.dtype, np.float32)


if __name__ == "__main__":
    unittest.main()
