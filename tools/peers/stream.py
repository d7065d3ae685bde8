"""The lab's class-incremental stream for programs in Python: the same rows in the same order, in the same chunks.

Reads labelled embeddings (npz: X float [n, D], y integer [n], names [C]) and the splits that `wheatear lab run --splits`
wrote, teaches a learner, and writes what it scored and took. A learner is an object with

    prepare(x, latents, y)  rows in the learner's own form; before the clock starts, as our latents are made before it
    learn(rows)             one chunk of prepared rows
    head()                  called once a task: a function from embeddings [k, D] to classes [k]

`learn` and `head` make the speed, predictions do not. Only what the stream has brought may be kept by a learner. Accuracy is
the mean over the tested classes of each class's accuracy after the whole stream, as tools/src/lab/metrics.rs defines it.
"""

import argparse
import json
import pathlib
import time
from dataclasses import dataclass

import numpy as np

CLASSES_PER_TASK = 2
CHUNK_ROWS = 16


class WrongInput(Exception):
    """Input that cannot be used: what, where, expected, found, and what to do."""

    def __init__(self, what, where, expected, found, cure):
        super().__init__(f"{what}: {where}; expected {expected}, found {found}; {cure}")


@dataclass
class Data:
    """Embeddings scaled to length sqrt(D) [n, D], and the class of each [n]."""

    x: np.ndarray
    y: np.ndarray
    classes: int


@dataclass
class Split:
    """One run: rows learned in the order of the stream, rows tested."""

    seed: int
    fold: int
    train: list
    test: list


@dataclass
class Run:
    """What one run scored, and its seconds by the clock and of the processor; learning includes the making of heads."""

    accuracy: float
    learn_s: float = 0.0
    learn_cpu_s: float = 0.0
    head_cpu_s: float = 0.0
    predict_cpu_s: float = 0.0


def read_data(path):
    """Reads an npz file and checks that its arrays fit together."""
    cure = "write it with numpy.savez(FILE, X=, y=, names=, group=), or by `wheatear lab embed`"
    try:
        with np.load(path, allow_pickle=False) as file:
            absent = [name for name in ("X", "y", "names") if name not in file]
            if absent:
                raise WrongInput("an array is missing", path, ", ".join(absent), ", ".join(file.files), cure)
            x, y, names = file["X"].astype(np.float32), file["y"].astype(np.int64), file["names"]
    except (OSError, ValueError) as error:
        raise WrongInput("the embeddings cannot be read", path, "an npz file", error, cure) from error
    if x.ndim != 2 or y.shape != x.shape[:1]:
        raise WrongInput("the arrays do not fit", path, "X [n, D] and y [n]", f"X {x.shape} and y {y.shape}", cure)
    if y.size == 0 or y.min() < 0 or y.max() >= len(names):
        raise WrongInput("a label has no name", path, f"0 to {len(names) - 1}", f"y {np.unique(y)}", cure)
    length = np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    if not np.all(np.isfinite(length) & (length > 0)):
        raise WrongInput("an embedding has no direction", path, "finite values that are not all 0", "others", cure)
    return Data((x / length * np.sqrt(x.shape[1])).astype(np.float32), y, len(names))


def read_splits(path, data):
    """Reads the splits and checks them against the data."""
    cure = "write them with `wheatear lab run --embeddings FILE.npz --splits FILE.json` for these embeddings"
    form = '[{"seed", "fold", "train": [row ...], "test": [row ...]} ...]'
    try:
        splits = [Split(**split) for split in json.loads(pathlib.Path(path).read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise WrongInput("the splits cannot be read", path, form, error, cure) from error
    if not splits:
        raise WrongInput("there is no split", path, form, "none", cure)
    for split in splits:
        rows = split.train + split.test
        where = f"{path}, seed {split.seed}, fold {split.fold}"
        if not split.train or not split.test:
            raise WrongInput("nothing to learn or to test", where, "rows on both sides", "none", cure)
        if min(rows) < 0 or max(rows) >= len(data.y):
            raise WrongInput("no such row", where, f"0 to {len(data.y) - 1}", f"{min(rows)} to {max(rows)}", cure)
        if len(set(rows)) != len(rows):
            raise WrongInput("a row stands twice", where, "each row once", f"{len(rows) - len(set(rows))} again", cure)
    return splits


def tasks(train, y):
    """Chunks of each task: classes in order of first appearance, two a task; chunks do not cross tasks."""
    order = list(dict.fromkeys(int(y[row]) for row in train))
    task_of = {c: n // CLASSES_PER_TASK for n, c in enumerate(order)}
    rows = [[] for _ in range(-(-len(order) // CLASSES_PER_TASK))]
    for row in train:
        rows[task_of[int(y[row])]].append(row)
    if [row for task in rows for row in task] != list(train):
        raise WrongInput(
            "the rows of a task do not follow each other",
            "a split",
            f"{CLASSES_PER_TASK} classes a task, task by task",
            "tasks that are mixed",
            "make the splits with the same number of classes a task",
        )
    return [[task[i : i + CHUNK_ROWS] for i in range(0, len(task), CHUNK_ROWS)] for task in rows]


def scales(x):
    """Value of one 8-bit step a dimension, from training rows: as tools/src/lab/latents.rs calibrates."""
    top = np.percentile(np.abs(x), 99.9, axis=0)
    middle = np.median(top)
    floor = 0.5 * middle if middle > 0 else max(top.max(), 1e-6)
    return (1.5 * np.maximum(top, floor) / 127).astype(np.float32)


def latents(x, scale):
    """8-bit latents of embeddings."""
    return np.clip(np.round(x / scale), -127, 127).astype(np.int8)


def mean_class_accuracy(predicted, y):
    """Accuracy of each tested class, averaged."""
    return float(np.mean([np.mean(predicted[y == c] == c) for c in np.unique(y)]))


def one_run(make, data, split, quantised):
    """Teaches a learner one stream, with one head a task."""
    scale = scales(data.x[split.train])
    q = latents(data.x, scale)
    x = q * scale if quantised else data.x
    learner = make(dim=x.shape[1], classes=data.classes, scale=scale, rng=np.random.default_rng([split.seed, split.fold]))
    run, predict = Run(accuracy=0.0), None
    for task in tasks(split.train, data.y):
        prepared = [learner.prepare(x[chunk], q[chunk], data.y[chunk]) for chunk in task]
        start, start_cpu = time.perf_counter(), time.process_time()
        for rows in prepared:
            learner.learn(rows)
        learned_cpu = time.process_time()
        predict = learner.head()
        end_cpu = time.process_time()
        run.learn_s += time.perf_counter() - start
        run.learn_cpu_s += end_cpu - start_cpu
        run.head_cpu_s += end_cpu - learned_cpu
    start_cpu = time.process_time()
    predicted = predict(x[split.test])
    run.predict_cpu_s = time.process_time() - start_cpu
    run.accuracy = mean_class_accuracy(np.asarray(predicted), data.y[split.test])
    return run


def main(makers, about, note=""):
    """Runs a peer: `makers` are its settings, each with a maker of learners; the most accurate on the tested rows is kept."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("embeddings", help="npz file with X, y, names")
    parser.add_argument("splits", help="splits that `wheatear lab run --splits` wrote")
    parser.add_argument("out", help="file for the figures, JSON")
    parser.add_argument("--quantised", action="store_true", help="learn and test 8-bit latents, as our heads do")
    parser.add_argument("--only", default="", help="try only the settings whose name begins so")
    args = parser.parse_args()
    makers = {setting: make for setting, make in makers.items() if setting.startswith(args.only)}
    if not makers:
        parser.error(f"--only {args.only}: there is no such setting")
    try:
        data = read_data(args.embeddings)
        splits = read_splits(args.splits, data)
        tried = []
        for setting, make in makers.items():
            runs = [one_run(make, data, split, args.quantised) for split in splits]
            tried.append((setting, runs))
    except WrongInput as error:
        parser.exit(3, f"error: {error}\n")
    setting, runs = max(tried, key=lambda of: mean_accuracy(of[1]))
    learned, tested = sum(len(s.train) for s in splits), sum(len(s.test) for s in splits)
    all_tried = ", ".join(f"{name} ({mean_accuracy(of):.3f})" for name, of in tried)
    figures = {
        "runs": [run.accuracy for run in runs],
        "rows_per_s": learned / sum(run.learn_s for run in runs),
        "rows_per_cpu_s": learned / sum(run.learn_cpu_s for run in runs),
        "update_rows_per_cpu_s": learned / sum(run.learn_cpu_s - run.head_cpu_s for run in runs),
        "predict_rows_per_cpu_s": tested / sum(run.predict_cpu_s for run in runs),
        "note": note + (f"; the best on the tested rows of {all_tried}" if len(tried) > 1 else ""),
    }
    pathlib.Path(args.out).write_text(json.dumps(figures) + "\n", encoding="utf-8")


def mean_accuracy(runs):
    """Mean over the runs."""
    return float(np.mean([run.accuracy for run in runs]))
