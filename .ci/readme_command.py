#!/usr/bin/env python3
"""Prints the command of README.md that a marker announces, so that CI runs what a reader is told to run.

    readme_command.py NAME

The marker is `<!-- NAME -->` alone on a line; the next fenced block must hold exactly one line that is not blank.
"""

import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: readme_command.py NAME")
    marker = f"<!-- {sys.argv[1]} -->"
    lines = README.read_text().splitlines()
    places = [number for number, line in enumerate(lines) if line.strip() == marker]
    if len(places) != 1:
        sys.exit(f"readme_command: README.md holds {marker} {len(places)} times, expected once")
    rest = lines[places[0] + 1 :]
    fences = [number for number, line in enumerate(rest) if line.startswith("```")]
    if len(fences) < 2:
        sys.exit(f"readme_command: no fenced block after {marker}")
    commands = [line.strip() for line in rest[fences[0] + 1 : fences[1]] if line.strip()]
    if len(commands) != 1:
        sys.exit(f"readme_command: the block after {marker} holds {len(commands)} commands, expected one")
    print(commands[0])


if __name__ == "__main__":
    main()
