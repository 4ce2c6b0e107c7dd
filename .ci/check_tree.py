#!/usr/bin/env python3
"""Fails when a file of the tree names a package registry's host or a path of one particular machine.

A clone must build anywhere: hosts belong to each tool's own configuration, and absolute paths to nobody else's disk.
Looks at every file git would commit (tracked, or new and not ignored); skips binary files.
The patterns are assembled from pieces so that this file does not match itself.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Bytes looked at to tell a binary file from text, as git does.
SNIFF_BYTES = 8000

DOT = re.escape(".")


def host(*labels):
    return r"(?<![\w-])" + DOT.join(labels) + r"(?![\w-])"


PATTERNS = {
    "a registry's host": [
        host("registry", "npm" + "js", "org"),
        host("registry", "yarn" + "pkg", "com"),
        host(r"(?:test\.)?" + "py" + "pi", "org"),
        host("files", "python" + "hosted", "org"),
        host("(?:static|index)", "crates", "io"),
        host("(?:deb|security|ftp)", "debian", "org"),
        host("(?:archive|security)", "ubuntu", "com"),
        host("proxy", "golang", "org"),
        host("binaries", "solidity" + "lang", "org"),
    ],
    "a path of one machine": [
        # An absolute path starts a word: a relative path with such a part, and a URL's own path, are something else.
        r"(?<![\w.)}>-])/(?:home|Users)/[a-z_][\w.-]*/",
        r"(?<![\w.)}>-])/ro" + r"ot/[\w.]",
        r"(?<![\w.)}>-])/wo" + r"rk/(?:main|shared|\.)",
        r"(?<![\w.)}>-])/t" + r"mp/\w",
    ],
}


def files():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout
    return sorted({Path(name.decode()) for name in listed.split(b"\0") if name})


def main():
    compiled = [(what, re.compile(pattern)) for what, group in PATTERNS.items() for pattern in group]
    names = files()
    if not names:
        sys.exit("check_tree: git lists no file; run this inside a clone")
    breaches = 0
    for name in names:
        path = ROOT / name
        if path.is_symlink() or not path.is_file():
            continue
        data = path.read_bytes()
        if b"\0" in data[:SNIFF_BYTES]:
            continue
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            for what, pattern in compiled:
                found = pattern.search(line)
                if found:
                    print(f"{name}:{number}: names {what}: {found.group(0)}", file=sys.stderr)
                    breaches += 1
    if breaches:
        sys.exit(f"check_tree: {breaches} breach(es) in {len(names)} files")
    print(f"check_tree: {len(names)} files name no registry host and no path of one machine")


if __name__ == "__main__":
    main()
