#!/usr/bin/env python3
"""Fits the fraud model and writes its integer table. Standard library only; see README.md in this folder.

    train_fraud.py features.csv ../src/consensus/class/fraud_table.rs

The same input gives the same bytes: no randomness, fixed steps, weights rounded to 1/4096 bit.
"""
import csv
import math
import sys

TEST = ("rte", "dog", "cifar10n")  # never seen in training
ONE = 65536.0
ATTACK = ("uniform", "frequency", "constant", "ring")
STEPS = 600
RIDGE = 2e-3
HONEST_FLAGGED = 0.0115  # mean over the training crowds


def read(path):
    rows = []
    with open(path, newline="") as file:
        reader = csv.reader(file)
        names = next(reader)[3:]
        for row in reader:
            rows.append((row[0], row[1], [int(value) / ONE for value in row[3:]]))
    return names, rows


def fit(points):
    """Logistic regression by accelerated gradient descent; every (crowd, class) pair weighs alike."""
    mass = {}
    for crowd, bad, _ in points:
        mass[crowd, bad] = mass.get((crowd, bad), 0) + 1
    width = len(points[0][2])
    count = len(mass)
    mean = [math.fsum(x[j] / mass[c, b] for c, b, x in points) / count for j in range(width)]
    scale = [
        max(0.02, math.sqrt(math.fsum((x[j] - mean[j]) ** 2 / mass[c, b] for c, b, x in points) / count))
        for j in range(width)
    ]
    data = [
        (float(b), 1.0 / mass[c, b] / count, [1.0] + [(x[j] - mean[j]) / scale[j] for j in range(width)])
        for c, b, x in points
    ]
    weights = [0.0] * (width + 1)
    ahead = weights[:]
    for step in range(STEPS):
        gradient = [0.0] * (width + 1)
        for bad, part, x in data:
            z = sum(map(float.__mul__, ahead, x))
            error = (1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, z)))) - bad) * part
            for j, value in enumerate(x):
                gradient[j] += error * value
        for j in range(1, width + 1):
            gradient[j] += RIDGE * ahead[j]
        fresh = [a - 0.5 * g for a, g in zip(ahead, gradient)]
        ahead = [f + step / (step + 3.0) * (f - w) for f, w in zip(fresh, weights)]
        weights = fresh
    plain = [weights[j + 1] / scale[j] for j in range(width)]
    bias = weights[0] - sum(p * m for p, m in zip(plain, mean))
    # Base-2 log odds, Q16, rounded to 1/4096 so that the last bits of a platform's exp do not show.
    def whole(value):
        return round(value / math.log(2) * 4096) * 16

    return [whole(p) for p in plain], whole(bias)


def score(weights, bias, x):
    total = bias + sum(int(w * v) for w, v in zip(weights, x))
    return 1e6 / (1.0 + 2.0 ** (-max(-40.0, min(40.0, total / ONE))))


def auc(good, bad):
    ranked = sorted([(s, 0) for s in good] + [(s, 1) for s in bad])
    total, index = 0.0, 0
    while index < len(ranked):
        end = index
        while end < len(ranked) and ranked[end][0] == ranked[index][0]:
            end += 1
        total += sum(1 for s in ranked[index:end] if s[1]) * (index + 1 + end) / 2.0
        index = end
    return (total - len(bad) * (len(bad) + 1) / 2.0) / (len(good) * len(bad))


def main():
    names, rows = read(sys.argv[1])
    used = [(c, int(k in ATTACK), x) for c, k, x in rows if k != "weak" and c not in TEST]
    weights, bias = fit(used)
    honest = {}
    for crowd, bad, x in used:
        if not bad:
            honest.setdefault(crowd, []).append(score(weights, bias, x))
    flag = 500000
    while flag < 990000:
        flagged = [sum(s >= flag for s in scores) / len(scores) for scores in honest.values()]
        if sum(flagged) / len(flagged) <= HONEST_FLAGGED:
            break
        flag += 10000
    lines = [
        "//! Weights of the fraud model, Q16 bits (base-2 log odds); written by `protocol/training/train_fraud.py`, do not edit.",
        "",
        "/// Weight per feature.",
        "#[rustfmt::skip]",
        "pub(super) const WEIGHTS: [i64; %d] = [" % len(names),
        *["    %s, // %s" % (f"{w:_}", n) for w, n in zip(weights, names)],
        "];",
        "/// Constant term.",
        f"pub(super) const BIAS: i64 = {bias:_};",
        "/// Score from which a labeler is flagged, in parts per million.",
        f"pub(super) const FLAG_PPM: u32 = {flag:_};",
        "",
    ]
    with open(sys.argv[2], "w") as file:
        file.write("\n".join(lines))
    print("| crowd | used for | honest | AUC | honest flagged | " + " | ".join(ATTACK) + " |")
    print("|---|---|---|---|---|" + "---|" * len(ATTACK))
    for crowd in sorted({row[0] for row in rows}):
        scored = [(k, score(weights, bias, x)) for c, k, x in rows if c == crowd]
        good = [s for k, s in scored if k == "honest"]
        bad = [s for k, s in scored if k in ATTACK]
        cells = [crowd, "evaluation" if crowd in TEST else "training", str(len(good)), "%.4f" % auc(good, bad)]
        cells.append("%.1f %%" % (100.0 * sum(s >= flag for s in good) / len(good)))
        for kind in ATTACK:
            mine = [s for k, s in scored if k == kind]
            cells.append("%.1f %%" % (100.0 * sum(s >= flag for s in mine) / len(mine)))
        print("| " + " | ".join(cells) + " |")
    print(f"\nflagged from {flag} ppm")


main()
