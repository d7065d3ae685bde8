"""Independent numpy implementation of the heads of `wheatear lab run`, to compare on identical splits.

    wheatear lab run --embeddings FILE.npz --splits SPLITS.json --naive-lr 0.05 --latent-bits 8
    python reference_heads.py FILE.npz SPLITS.json [--bits 8|f32] [--classes-per-task 2] [--chunk-rows 16] [--naive-lr 0.05] [--offline]

Prints one JSON object: accuracy of each head (mean over classes, then over runs), standard deviation, and the runs. Nothing
here shares code or algorithms with the Rust side: means and scatter are updated row by row in floating point and inverted
densely, from the papers' formulas. `--offline` needs scikit-learn, all else only numpy.
"""

import argparse
import json

import numpy as np


def load(path):
    data = np.load(path)
    x = data["X"].astype(np.float64)
    return x / np.linalg.norm(x, axis=1, keepdims=True) * np.sqrt(x.shape[1]), data["y"].astype(int), data["group"]


def quantised(x, train, bits):
    """Values of symmetric latents whose range per dimension comes from the training rows; unchanged for `f32`."""
    if bits == "f32":
        return x
    top = np.percentile(np.abs(x[train]), 99.9, axis=0)
    top = np.maximum(top, 0.5 * np.median(top)) * 1.5
    limit = 2 ** (int(bits) - 1) - 1
    step = top / limit
    return np.clip(np.round(x / step), -limit, limit) * step


class Running:
    """Class means and the scatter within classes, updated one row at a time (Welford)."""

    def __init__(self, dim, classes):
        self.n = np.zeros(classes)
        self.mean = np.zeros((classes, dim))
        self.within = np.zeros((dim, dim))

    def learn(self, rows, labels):
        for x, c in zip(rows, labels):
            before = x - self.mean[c]
            self.n[c] += 1
            self.mean[c] += before / self.n[c]
            self.within += np.outer(before, x - self.mean[c])


class Ncm(Running):
    def scores(self, x):
        return -np.stack([((x - m) ** 2).sum(1) for m in self.mean], 1)


class Slda(Running):
    shrinkage = 0.1

    def scores(self, x):
        dim = len(self.within)
        cov = self.within / max(1, self.n.sum() - (self.n > 0).sum())
        cov = (1 - self.shrinkage) * cov + self.shrinkage * np.trace(cov) / dim * np.eye(dim)
        inverse = np.linalg.inv(cov)
        return np.stack([(x - m / 2) @ (inverse @ m) for m in self.mean], 1)


class Ridge:
    """Least squares on [x; 1] with targets weighted by one over the size of the class."""

    lam = 0.01

    def __init__(self, dim, classes):
        self.rows, self.labels, self.n = [], [], np.zeros(classes)

    def learn(self, rows, labels):
        self.rows.append(np.hstack([rows, np.ones((len(rows), 1))]))
        self.labels.append(np.eye(len(self.n))[labels])
        self.n += np.bincount(labels, minlength=len(self.n))

    def scores(self, x):
        f, t = np.concatenate(self.rows), np.concatenate(self.labels)
        penalty = self.lam * (f**2).sum() / f.shape[1]
        weights = np.linalg.solve(f.T @ f + penalty * np.eye(f.shape[1]), f.T @ (t / np.maximum(self.n, 1)))
        return np.hstack([x, np.ones((len(x), 1))]) @ weights


class Naive:
    """Cosine softmax, imprinted, four Adam steps a chunk, no replay."""

    def __init__(self, dim, classes, rate):
        self.w, self.b, self.n = np.zeros((classes, dim)), np.zeros(classes), np.zeros(classes)
        self.m, self.v, self.t, self.rate = np.zeros((classes, dim)), np.zeros((classes, dim)), 0, rate

    def scores(self, x):
        return 16 * (x / np.linalg.norm(x, axis=1, keepdims=True)) @ self.w.T + self.b

    def learn(self, rows, labels):
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        for c in set(labels.tolist()):
            if self.n[c] == 0:
                mean = unit[labels == c].mean(0)
                self.w[c] = mean / np.linalg.norm(mean)
            self.n[c] += (labels == c).sum()
        known = self.n > 0
        for _ in range(4):
            z = np.where(known, 16 * unit @ self.w.T + self.b, -np.inf)
            p = np.exp(z - z.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            p -= np.eye(len(known))[labels]
            g = 16 * p.T @ unit / len(rows) + 1e-4 * self.w
            self.t += 1
            self.m += 0.1 * (g - self.m)
            self.v += 0.001 * (g * g - self.v)
            self.w -= self.rate * (self.m / (1 - 0.9**self.t)) / (np.sqrt(self.v / (1 - 0.999**self.t)) + 1e-8)
            self.b -= self.rate * p.mean(0)


def class_accuracy(predicted, truth):
    return float(np.mean([(predicted[truth == c] == c).mean() for c in np.unique(truth)]))


def chunks(train, y, per_task, size):
    order = list(dict.fromkeys(y[train].tolist()))
    for i in range(0, len(order), per_task):
        rows = [r for r in train if y[r] in order[i : i + per_task]]
        for j in range(0, len(rows), size):
            yield np.array(rows[j : j + size])


def offline(x, y, group, train, test):
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold

    def predict(c, a, b):
        return LogisticRegression(C=c, max_iter=300).fit(x[a], y[a]).predict(x[b])

    train = np.sort(train)
    folds = list(StratifiedGroupKFold(3, shuffle=True, random_state=0).split(x[train], y[train], group[train]))
    score = [(np.mean([class_accuracy(predict(c, train[a], train[b]), y[train[b]]) for a, b in folds]), c) for c in (0.01, 0.1, 1, 10)]
    return class_accuracy(predict(max(score)[1], train, test), y[test])


def main():
    args = argparse.ArgumentParser()
    args.add_argument("npz")
    args.add_argument("splits")
    args.add_argument("--bits", default="8")
    args.add_argument("--classes-per-task", type=int, default=2)
    args.add_argument("--chunk-rows", type=int, default=16)
    args.add_argument("--naive-lr", type=float, default=0.05)
    args.add_argument("--offline", action="store_true")
    args = args.parse_args()
    x, y, group = load(args.npz)
    dim, classes = x.shape[1], y.max() + 1
    runs = {}
    for split in json.load(open(args.splits)):
        train, test = np.array(split["train"]), np.array(split["test"])
        q = quantised(x, train, args.bits)
        heads = dict(naive=Naive(dim, classes, args.naive_lr), ncm=Ncm(dim, classes), slda=Slda(dim, classes), ridge=Ridge(dim, classes))
        for rows in chunks(train, y, args.classes_per_task, args.chunk_rows):
            for head in heads.values():
                head.learn(q[rows], y[rows])
        for name, head in heads.items():
            scores = head.scores(q[test])
            scores[:, head.n == 0] = -np.inf
            runs.setdefault(name, []).append(class_accuracy(scores.argmax(1), y[test]))
        if args.offline:
            runs.setdefault("offline", []).append(offline(x, y, group, train, test))
    print(json.dumps({k: dict(accuracy=float(np.mean(v)), std=float(np.std(v)), runs=v) for k, v in runs.items()}))


if __name__ == "__main__":
    main()
