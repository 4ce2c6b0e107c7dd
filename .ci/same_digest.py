#!/usr/bin/env python3
"""Fails unless two JSON reports carry the same non-empty set of `digest` fields.

    same_digest.py REPORT REPORT

Each report is one JSON document, or ends with a line that is one. Fields are compared by their place in the document.
"""

import sys
from pathlib import Path

from measured import json_document


def digests(value, place="$"):
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "digest":
                yield f"{place}.digest", inner
            else:
                yield from digests(inner, f"{place}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from digests(inner, f"{place}[{index}]")


def read(path):
    try:
        found = dict(digests(json_document(Path(path).read_text())))
    except ValueError as error:
        sys.exit(f"same_digest: {path}: no JSON document: {error}")
    if not found:
        sys.exit(f"same_digest: {path}: no `digest` field")
    for place, value in found.items():
        if not isinstance(value, str) or not value:
            sys.exit(f"same_digest: {path}: {place} is not a non-empty string")
    return found


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: same_digest.py REPORT REPORT")
    left, right = read(sys.argv[1]), read(sys.argv[2])
    differing = [place for place in sorted(left.keys() | right.keys()) if left.get(place) != right.get(place)]
    for place in differing:
        print(f"same_digest: {place}: {left.get(place)} and {right.get(place)}", file=sys.stderr)
    if differing:
        sys.exit(f"same_digest: {len(differing)} of the digests differ")
    for place, value in left.items():
        print(f"same_digest: {place} = {value}")


if __name__ == "__main__":
    main()
