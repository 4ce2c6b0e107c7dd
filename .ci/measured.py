#!/usr/bin/env python3
"""Runs a command, keeps its standard output, and fails unless it ends well within its limits.

    measured.py --out FILE --max-mib N --max-seconds N -- COMMAND [ARGUMENT...]

Checks: exit code 0, standard output that is one JSON document or ends with a line that is one, peak resident memory of the
command and all its descendants together, run time. Memory is the larger of two figures: the sum over the process tree,
sampled from /proc, and the kernel's own high-water mark of the largest single process. Linux only.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

# Seconds between two samples of the process tree.
SAMPLE_SECONDS = 0.1
# Seconds a command gets between the polite signal and the other one.
GRACE_SECONDS = 5


def resident_by_process():
    """{pid: (parent pid, resident bytes)} of every process that still exists."""
    page = os.sysconf("SC_PAGE_SIZE")
    table = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # The name in parentheses may hold spaces; the fields after it do not. Field 4 is the parent, 24 the pages.
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            table[int(entry.name)] = (int(fields[1]), int(fields[21]) * page)
        except (OSError, IndexError, ValueError):
            continue
    return table


def tree_bytes(root):
    table = resident_by_process()
    children = {}
    for pid, (parent, _) in table.items():
        children.setdefault(parent, []).append(pid)
    total, waiting, seen = 0, [root], set()
    while waiting:
        pid = waiting.pop()
        if pid in seen or pid not in table:
            continue
        seen.add(pid)
        total += table[pid][1]
        waiting.extend(children.get(pid, []))
    return total


def json_document(text):
    """The document a command printed: all of its output, or the last line that is not blank."""
    try:
        return json.loads(text)
    except ValueError:
        lines = [line for line in text.splitlines() if line.strip()]
        if not lines:
            raise ValueError("the command printed nothing") from None
        return json.loads(lines[-1])


def stop(child):
    """Ends the command's own process group, politely first."""
    os.killpg(child.pid, signal.SIGTERM)
    try:
        child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--max-mib", type=int, required=True)
    parser.add_argument("--max-seconds", type=int, required=True)
    # Split by hand: the command has its own `--`.
    ours, separator, command = sys.argv[1:], "--", []
    if separator in ours:
        place = ours.index(separator)
        ours, command = ours[:place], ours[place + 1 :]
    options = parser.parse_args(ours)
    if not command:
        parser.error("no command after --")

    started = time.monotonic()
    peak = 0
    with options.out.open("wb") as out:
        child = subprocess.Popen(command, stdout=out, stdin=subprocess.DEVNULL, start_new_session=True)
        while child.poll() is None:
            peak = max(peak, tree_bytes(child.pid))
            if time.monotonic() - started > options.max_seconds:
                stop(child)
                sys.exit(f"measured: not finished after {options.max_seconds} s: {' '.join(command)}")
            time.sleep(SAMPLE_SECONDS)
    seconds = time.monotonic() - started
    peak = max(peak, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
    mib = peak / (1 << 20)

    print(f"measured: exit code {child.returncode}, {seconds:.1f} s, peak memory {mib:.0f} MiB (limit {options.max_mib})")
    if child.returncode != 0:
        sys.exit(f"measured: exit code {child.returncode}, expected 0: {' '.join(command)}")
    if mib > options.max_mib:
        sys.exit(f"measured: peak memory {mib:.0f} MiB is over the limit of {options.max_mib} MiB")
    try:
        json_document(options.out.read_text())
    except ValueError as error:
        sys.exit(f"measured: standard output holds no JSON document: {error}")


if __name__ == "__main__":
    main()
