#!/usr/bin/env python3
"""`assay score` beside crowd-kit, on folders of crowd answers and on synthetic crowds.

    python3 -m venv venv && venv/bin/pip install -r requirements.txt
    venv/bin/python score_bench.py --assay PATH/assay [DATA...] [--sizes 10000 100000] [--only REGEX] [--skip-crowd-kit]

DATA is a folder with labels.csv and truth.csv (task,label), or a folder of such folders; for comparisons items.csv
(item,group,score) gives the true order. The kind is taken from meta.json (`kind`), else from the rows. Prints a Markdown
table. Every run is a process of its own: CPU seconds and peak memory are those of the whole process, reading included;
for crowd-kit they include the interpreter and its libraries, so the CPU seconds of the fit alone stand beside them.
Accuracy, F1, calibration, word error rate and rank correlation are computed here for both sides, from results alone.
scikit-learn must be older than 1.6, or crowd-kit's Wawa fails.
"""
import argparse
import csv
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time

CLASS = ["MajorityVote", "Wawa", "DawidSkene", "OneCoinDawidSkene", "GLAD", "MACE"]
METHODS = {"class": CLASS, "pair": ["BradleyTerry", "NoisyBradleyTerry"], "text": ["ROVER"]}
# Methods that need minutes beyond these numbers of answers.
LIMITS = {"GLAD": 10_000, "MACE": 10_000}
# CPU seconds after which a run is stopped.
MAX_CPU = 300


def table(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def kind_of(folder):
    meta = os.path.join(folder, "meta.json")
    if os.path.exists(meta):
        with open(meta, encoding="utf-8") as file:
            return json.load(file).get("kind", "class")
    rows = table(os.path.join(folder, "labels.csv"))
    if all("|" in row["task"] and row["label"] in row["task"].split("|") for row in rows):
        return "pair"
    return "class" if len({row["label"] for row in rows}) <= 256 else "text"


def crowd(answers, folder, seed=7):
    """A crowd by Dawid and Skene: 70 % able workers, 20 % who answer at random, 10 % who favour one class."""
    draw = random.Random(seed)
    workers = max(20, answers // 500)
    sort = [draw.choices("arf", (7, 2, 1))[0] for _ in range(workers)]
    able = [draw.uniform(0.55, 0.95) for _ in range(workers)]
    favourite = [draw.randrange(4) for _ in range(workers)]
    rows, truth = [], []
    for task in range(answers // 5):
        label = draw.choices(range(4), (4, 3, 2, 1))[0]
        truth.append(label)
        for worker in draw.sample(range(workers), 5):
            if sort[worker] == "r":
                own = draw.randrange(4)
            elif sort[worker] == "f" and draw.random() < 0.8:
                own = favourite[worker]
            elif draw.random() < able[worker]:
                own = label
            else:
                own = (label + draw.randrange(1, 4)) % 4
            rows.append((task, worker, own))
    draw.shuffle(rows)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "labels.csv"), "w", encoding="utf-8") as file:
        file.write("task,worker,label\n")
        file.writelines("t%07d,w%05d,%d\n" % row for row in rows)
    with open(os.path.join(folder, "truth.csv"), "w", encoding="utf-8") as file:
        file.write("task,label\n")
        file.writelines("t%07d,%d\n" % row for row in enumerate(truth))


def child(method, kind, labels, out):
    """One crowd-kit method; writes (name, result, certainty) and prints the CPU seconds of the fit."""
    import pandas
    import crowdkit.aggregation as crowdkit

    rows = pandas.read_csv(labels, dtype=str, keep_default_na=False)
    certainty = {}
    if kind == "pair":
        sides = rows.task.str.split("|", expand=True)
        rows["left"], rows["right"] = sides[0], sides[1]
        if method == "BradleyTerry":
            model = crowdkit.BradleyTerry(n_iter=100)
        else:
            model = crowdkit.NoisyBradleyTerry(n_iter=10, random_state=0)
    elif kind == "text":
        rows = rows[["task", "worker", "label"]].drop_duplicates(["task", "worker"])
        rows = rows.rename(columns={"label": "text"})
        model = crowdkit.ROVER(str.split, " ".join, silent=True)
    else:
        rows = rows[["task", "worker", "label"]]
        options = {"n_iter": 100} if "DawidSkene" in method else {}
        model = getattr(crowdkit, method)(**options)
    start = time.process_time()
    result = model.fit_predict(rows).to_dict()
    used = time.process_time() - start
    if hasattr(model, "probas_") and kind == "class":
        certainty = model.probas_.max(axis=1).to_dict()
    with open(out, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for name, value in result.items():
            writer.writerow([name, value, certainty.get(name, "")])
    print(used)


# Runs a command from a process that is small itself: a new process starts with the peak memory of the one that it was forked from.
RUNNER = """
import os, resource, sys
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
child = os.posix_spawnp(sys.argv[3], sys.argv[3:], os.environ, file_actions=[(os.POSIX_SPAWN_CLOSE, int(sys.argv[2]))])
_, status, usage = os.wait4(child, 0)
report = f"{os.waitstatus_to_exitcode(status)} {usage.ru_utime + usage.ru_stime} {usage.ru_maxrss}"
os.write(int(sys.argv[2]), report.encode())
"""


def measured(command):
    """Runs a command; gives standard output, CPU seconds and peak MiB of the process. MAX_CPU bounds the CPU seconds."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as report:
        runner = [sys.executable, "-I", "-S", "-c", RUNNER, str(MAX_CPU), str(report.fileno())]
        subprocess.run(runner + command, stdout=out, stderr=subprocess.DEVNULL, pass_fds=[report.fileno()], check=True)
        report.seek(0)
        code, cpu, memory = report.read().decode("ascii").split()
        if int(code) in (-signal.SIGXCPU, -signal.SIGKILL):
            raise RuntimeError(f"stopped after {float(cpu):.0f}")
        if int(code):
            raise RuntimeError(f"exit code {code}")
        out.seek(0)
        text = out.read().decode("utf-8")
    return text, float(cpu), int(memory) / 1024


def word_errors(truth, own):
    truth, own = truth.lower().split(), own.lower().split()
    row = list(range(len(own) + 1))
    for i, word in enumerate(truth, 1):
        last, row = row, [i]
        for j, other in enumerate(own, 1):
            row.append(min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (word != other)))
    return row[-1], len(truth)


def ranks(values):
    order = sorted(values)
    return [(order.index(v) * 2 + order.count(v) + 1) / 2 for v in values]


def correlation(a, b):
    a, b = ranks(a), ranks(b)
    mean = (len(a) + 1) / 2
    top = sum((x - mean) * (y - mean) for x, y in zip(a, b))
    low = sum((x - mean) ** 2 for x in a) * sum((y - mean) ** 2 for y in b)
    return top / low**0.5 if low else 0.0


def judge(folder, kind, result, certainty):
    """Three figures as text."""
    truth = {row["task"]: row["label"] for row in table(os.path.join(folder, "truth.csv"))}
    if kind == "class":
        pairs = [(label, result.get(task, "")) for task, label in truth.items()]
        accuracy = sum(a == b for a, b in pairs) / len(pairs)
        f1 = []
        for label in {a for a, _ in pairs}:
            both = sum(a == b == label for a, b in pairs)
            f1.append(2 * both / (sum(a == label for a, _ in pairs) + sum(b == label for _, b in pairs)))
        bins = {}
        for task, label in truth.items():
            if task in certainty:
                p = certainty[task]
                own = bins.setdefault(min(9, max(0, -int(-p * 10 // 1) - 1)), [0.0, 0])
                own[0] += p
                own[1] += result.get(task) == label
        known = sum(task in certainty for task in truth)
        gap = f"{100 * sum(abs(a - b) for a, b in bins.values()) / known:.1f}" if known else ""
        return f"{100 * accuracy:.1f}", f"{100 * sum(f1) / len(f1):.1f}", gap
    if kind == "pair":
        right = 0.0
        for task, winner in truth.items():
            left, other = task.split("|")
            a, b = float(result.get(left, 0)), float(result.get(other, 0))
            right += 0.5 if a == b else (left if a > b else other) == winner
        groups = {}
        for row in table(os.path.join(folder, "items.csv")):
            groups.setdefault(row["group"], []).append((float(row["score"]), float(result.get(row["item"], 0))))
        rho = [correlation(*zip(*group)) for group in groups.values()]
        return f"{right / len(truth):.4f}", f"{sum(rho) / len(rho):.4f}", ""
    errors = [word_errors(text, result.get(task, "")) for task, text in truth.items()]
    mean = sum(a / max(1, b) for a, b in errors) / len(errors)
    return f"{mean:.4f}", f"{sum(a for a, _ in errors) / sum(b for _, b in errors):.4f}", ""


def run_ours(assay, kind, labels):
    # Measured without the tables; the certainties come from a second run.
    text, cpu, memory = measured([assay, "score", kind, labels])
    rows = list(csv.reader(text.splitlines(keepends=True)))[1:]
    result = {row[0]: row[1] for row in rows}
    certainty = {}
    if kind == "class":
        with tempfile.TemporaryDirectory() as out:
            measured([assay, "score", kind, labels, "--out", out])
            certainty = {row["task"]: float(row["posterior"]) for row in table(os.path.join(out, "labels.csv"))}
    return result, certainty, cpu, memory, ""


def run_theirs(method, kind, labels):
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out.csv")
        text, cpu, memory = measured([sys.executable, __file__, "--child", method, kind, labels, out])
        with open(out, newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
    certainty = {row[0]: float(row[2]) for row in rows if row[2]}
    return {row[0]: row[1] for row in rows}, certainty, cpu, memory, f"{float(text.split()[-1]):.2f}"


def main():
    csv.field_size_limit(1 << 27)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*")
    parser.add_argument("--assay", default="assay")
    parser.add_argument("--sizes", type=int, nargs="*", default=[])
    parser.add_argument("--only", default=".")
    parser.add_argument("--skip-crowd-kit", action="store_true")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    folders = []
    for path in options.data:
        if os.path.exists(os.path.join(path, "labels.csv")):
            folders.append(path)
        else:
            inside = sorted(os.path.join(path, name) for name in os.listdir(path))
            folders += [name for name in inside if os.path.exists(os.path.join(name, "labels.csv"))]
    with tempfile.TemporaryDirectory() as made:
        for size in options.sizes:
            folder = os.path.join(made, f"synthetic {size:,}")
            crowd(size, folder)
            folders.append(folder)
        print("| set | answers | method | accuracy, pairs right or mean WER | macro F1, Spearman or corpus WER | calibration error | CPU s, process | CPU s, fit | peak MiB |")
        print("|---|---|---|---|---|---|---|---|---|")
        for folder in folders:
            labels, kind = os.path.join(folder, "labels.csv"), kind_of(folder)
            with open(labels, "rb") as file:
                answers = sum(1 for _ in file) - 1
            methods = ["assay score"] + ([] if options.skip_crowd_kit else METHODS[kind])
            for method in methods:
                if not re.search(options.only, method) or answers > LIMITS.get(method, answers):
                    continue
                try:
                    if method == "assay score":
                        result, certainty, cpu, memory, fit = run_ours(options.assay, kind, labels)
                    else:
                        result, certainty, cpu, memory, fit = run_theirs(method, kind, labels)
                    cells = [*judge(folder, kind, result, certainty), f"{cpu:.3f}", fit, f"{memory:.0f}"]
                except RuntimeError as error:
                    cells = ["", "", "", str(error), "", ""]
                name = os.path.basename(folder.rstrip("/"))
                print("|", " | ".join([name, f"{answers:,}", method, *cells]), "|", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:6])
    else:
        main()
