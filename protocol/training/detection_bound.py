#!/usr/bin/env python3
"""How many spammers the best test could catch on a recorded crowd; needs numpy. Not part of scoring.

    detection_bound.py CROWD_FOLDER [RUNS]

Honest: at least 20 checked answers, right on two fifths of the way from chance to perfect. Spammers with 20 answers each are added, a fifth as
many as there are labelers. Each test may flag one honest labeler in a hundred; it is a likelihood ratio of "answers like an honest labeler, whose
skill is drawn from the honest ones' and whose items are as hard as the other honest ones found them" (Rasch) against "answers blindly"
(evenly, by the crowd's frequencies, or one label). Tests differ in what they are told:

    truth             the true labels
    truth, standard   also that an honest labeler is right often enough to count as honest: nobody below that is let off
    votes             true difficulty and skills, but of the labels only the posterior from the other votes (Dawid-Skene)
    votes, standard   the same, and the standard
"""
import csv
import math
import pathlib
import sys

import numpy as np

EACH = 20


def load(folder):
    tasks, workers, votes = {}, {}, {}
    rows = list(csv.reader((folder / "labels.csv").open()))[1:]
    names = {name: n for n, name in enumerate(sorted({row[2] for row in rows}))}
    for task, worker, label, *_ in rows:
        votes.setdefault((tasks.setdefault(task, len(tasks)), workers.setdefault(worker, len(workers))), names[label])
    truth = np.full(len(tasks), -1)
    for task, label in list(csv.reader((folder / "truth.csv").open()))[1:]:
        if task in tasks and label in names:
            truth[tasks[task]] = names[label]
    return np.array([(i, w, k) for (i, w), k in votes.items()]), truth, len(workers), len(names)


def rasch(item, worker, right, items, workers, rounds):
    """Ease of items and skill of workers, in logits; normal priors of width 1.2 and 0.8."""
    ease, skill, mean = np.zeros(items), np.zeros(workers), 2.0
    chance = lambda: 1 / (1 + np.exp(-(mean + skill[worker] + ease[item])))
    for _ in range(rounds):
        for who, value, width in ((item, ease, 1.2), (worker, skill, 0.8)):
            p = chance()
            slope = np.bincount(who, right - p, len(value)) - value / width**2
            value += slope / (np.bincount(who, p * (1 - p), len(value)) + 1 / width**2)
        p = chance()
        mean += (right - p).sum() / (p * (1 - p)).sum()
    return ease, skill, mean


def posterior_of_own(votes, items, workers, classes):
    """P(the own label is right) from the other votes: Dawid-Skene with matrices drawn towards the common one."""
    item, worker, label = votes.T
    q = np.full((items, classes), 0.1)
    np.add.at(q, (item, label), 1)
    q /= q.sum(1, keepdims=True)
    for _ in range(25):
        counts = np.zeros((workers, classes, classes))
        np.add.at(counts, (worker, slice(None), label), q[item])
        common = counts.sum(0) + 0.5 + np.eye(classes)
        matrix = counts + 3 * common / common.sum(1, keepdims=True)
        said = np.log(matrix / matrix.sum(2, keepdims=True))[worker, :, label]
        logs = np.tile(np.log((q.sum(0) + 1) / (items + classes)), (items, 1))
        np.add.at(logs, item, said)
        q = np.exp(logs - logs.max(1, keepdims=True))
        q /= q.sum(1, keepdims=True)
    rest = logs[item] - said
    rest = np.exp(rest - rest.max(1, keepdims=True))
    return (rest / rest.sum(1, keepdims=True))[np.arange(len(item)), label]


def main():
    folder, runs = pathlib.Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 40
    votes, truth, workers, classes = load(folder)
    items = len(truth)
    checked = truth[votes[:, 0]] >= 0
    right = (votes[:, 2] == truth[votes[:, 0]]).astype(float)
    seen = np.bincount(votes[checked, 1], minlength=workers)
    hits = np.bincount(votes[checked, 1], right[checked], workers)
    honest = np.flatnonzero((seen >= EACH) & (hits * 5 * classes >= seen * (2 * classes + 3)))
    base = checked & np.isin(votes[:, 1], honest)
    fit = lambda part, rounds: rasch(votes[part, 0], votes[part, 1], right[part], items, workers, rounds)
    ease, skill, mean = fit(base, 40)
    grid = np.linspace(skill[honest].min() - 1, skill[honest].max() + 1, 23)
    weight = np.exp(-(((skill[honest][:, None] - grid) / 0.35) ** 2) / 2).sum(0)
    weight = np.log(weight / weight.sum())
    own_ease = {w: fit(base & (votes[:, 1] != w), 10)[0] for w in honest}
    share = np.bincount(votes[:, 2], minlength=classes) / len(votes)

    def ratio(ease, item, label, sure, standard):
        p = 1 / (1 + np.exp(-(mean + ease[item] + grid[:, None])))
        good, bad = sure * p, (1 - sure) * (1 - p) / (classes - 1)
        count = len(item)
        if standard and count <= 60:
            need = -(-count * (2 * classes + 3) // (5 * classes))
            logs = np.log(right_tail(good, bad, need) + 1e-300)
        else:
            logs = np.log(good + bad + 1e-300).sum(1)
        uses = np.bincount(label, minlength=classes)
        constant = -math.log(classes) if uses.max() == count else -math.inf
        blind = np.logaddexp.reduce([-count * math.log(classes), (uses * np.log(share)).sum(), constant]) - math.log(3)
        return np.logaddexp.reduce(weight + logs) - blind

    def right_tail(good, bad, need):
        ways = np.zeros((len(grid), good.shape[1] + 1))
        ways[:, 0] = 1
        for g, b in zip(good.T, bad.T):
            ways[:, 1:] = ways[:, 1:] * b[:, None] + ways[:, :-1] * g[:, None]
            ways[:, 0] *= b
        return ways[:, need:].sum(1)

    allowed = len(honest) // 100
    print(f"{folder.name}: {len(honest)} honest labelers, {runs} runs of {workers // 5} spammers with {EACH} answers")
    for kind in ("uniform", "frequency", "constant"):
        scores = {}
        for run in range(runs):
            draw = np.random.default_rng(run)
            added = []
            for spammer in range(workers, workers + workers // 5):
                item = draw.choice(items, min(EACH, items), replace=False)
                label = draw.choice(classes, len(item), p=None if kind == "uniform" else share)
                if kind == "constant":
                    label[:] = label[0]
                added.append(np.stack([item, np.full(len(item), spammer), label], 1))
            everything = np.concatenate([votes, *added])
            of_votes = posterior_of_own(everything, items, workers + workers // 5, classes)
            of_truth = (everything[:, 2] == truth[everything[:, 0]]).astype(float)
            for told, sure in (("truth", of_truth), ("votes", of_votes)):
                for standard in (False, True):
                    def score(w):
                        mine = (everything[:, 1] == w) & (truth[everything[:, 0]] >= 0)
                        return ratio(own_ease.get(w, ease), everything[mine, 0], everything[mine, 2], sure[mine], standard)
                    pair = [np.array([score(w) for w in who]) for who in (honest, range(workers, workers + workers // 5))]
                    scores.setdefault(told + ", standard" * standard, []).append(pair)
        for told, pairs in scores.items():
            caught = lambda good, bad: (bad < np.sort(good)[allowed]).mean()
            draw = np.random.default_rng(0)
            again = []
            for _ in range(400):
                crowd, sample = draw.integers(0, len(honest), len(honest)), draw.integers(0, runs, runs)
                again.append(np.mean([caught(pairs[i][0][crowd], pairs[i][1]) for i in sample]))
            needed = np.mean([(good < np.quantile(bad, 0.97)).mean() for good, bad in pairs])
            print(f"{kind:<10}{told:<16} caught {100 * np.mean([caught(*p) for p in pairs]):5.1f} %, standard error (crowd and runs drawn "
                  f"again) {100 * np.std(again):4.1f}; for 97 % {100 * needed:4.1f} % of the honest are flagged")


main()
