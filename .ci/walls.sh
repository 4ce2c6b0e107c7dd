#!/usr/bin/env bash
# Holds the walls between the crates: who may reach whom, read from Cargo's own resolution of the tree.
# It does not look inside a crate; module boundaries are the compiler's and the reviewer's business.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

failures=0

# reach_not CRATE NAME...: nothing CRATE needs at run time, on any platform and with any of its features, may be one of
# NAME. A name matches that crate and the family NAME-*.
reach_not() {
    local crate=$1 tree name found
    shift
    tree=$(cargo tree --locked --edges normal --target all --all-features --package "$crate" --prefix none --no-dedupe |
        awk '{ print $1 }' | sort -u)
    grep -qx "$crate" <<<"$tree" || { echo "walls: $crate is missing from its own tree" >&2; exit 1; }
    for name in "$@"; do
        # The crate itself is part of its tree, hence the second grep.
        found=$(grep -E "^${name}(-.*)?$" <<<"$tree" | grep -vx "$crate" || true)
        if [[ -n $found ]]; then
            echo "walls: $crate reaches $(tr '\n' ' ' <<<"$found")(forbidden: $name)" >&2
            failures=$((failures + 1))
        fi
    done
}

# direct_only NAME MEMBER...: only these members may name the crate NAME, or its family NAME-*, in their manifests, under
# any kind of dependency.
direct_only() {
    local name=$1 found
    shift
    found=$(python3 -c '
import json, sys

name, allowed = sys.argv[1], set(sys.argv[2:])
packages = json.load(sys.stdin)["packages"]
unknown = allowed - {package["name"] for package in packages}
if unknown:
    sys.exit("walls: no member of the workspace is called " + ", ".join(sorted(unknown)))
for package in packages:
    for dependency in package["dependencies"]:
        other = dependency["name"]
        if (other == name or other.startswith(name + "-")) and package["name"] not in allowed:
            print("walls:", package["name"], "depends on", other + "; only", ", ".join(sorted(allowed)), "may")
' "$name" "$@" <<<"$metadata")
    if [[ -n $found ]]; then
        echo "$found" >&2
        failures=$((failures + 1))
    fi
}

metadata=$(cargo metadata --locked --no-deps --format-version 1)

# The deterministic core: no executor, no network, no database, no provider.
reach_not assay-protocol tokio libp2p redb alloy-provider alloy-transport reqwest hyper revm rand \
    assay-storage assay-bootstrap assay-node assay-simulations
reach_not assay-storage tokio libp2p alloy-provider reqwest hyper revm assay-bootstrap assay-node assay-simulations
reach_not assay-bootstrap redb alloy-provider revm assay-storage assay-node assay-simulations
# The simulator must not be able to borrow behaviour from the node.
reach_not assay-simulations tokio libp2p alloy-provider reqwest hyper revm assay-node assay-bootstrap
reach_not assay-node assay-simulations assay-tests

direct_only redb assay-storage
direct_only libp2p assay-node assay-bootstrap
direct_only alloy-provider assay-node assay-tests
direct_only revm assay-node assay-tests

if ((failures > 0)); then
    echo "walls: $failures breach(es)" >&2
    exit 1
fi
echo "walls: every wall stands"
