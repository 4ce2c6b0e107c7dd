#!/usr/bin/env bash
# Fails unless a machine of another kind gives the same scores as this one.
#
#     other_target.sh [TARGET...]
#
# Builds protocol/examples/score_digest for this machine and for each TARGET (wasm32-wasip1 unless named), runs both and compares the
# digests: with each other over many crowds, and with the published ones. Known targets:
#
#   wasm32-wasip1                32 bits; needs node
#   i686-unknown-linux-gnu       32 bits; needs the C compiler i686-linux-gnu-gcc and an x86-64 Linux
#   s390x-unknown-linux-gnu      big-endian; needs the C compiler s390x-linux-gnu-gcc and qemu-s390x
#
# A target that cannot be had here is skipped, with the reason.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Small crowds per kind in the comparison of the two machines: ten kinds, 10,000 crowds, and the larger ones.
readonly CROWDS=1000
# How long rustup may try to fetch a target, in seconds.
readonly FETCH_SECONDS=120

published=protocol/vectors/score_digest.txt
example=(--release --locked -p assay-protocol --example score_digest)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

skip() { echo "SKIPPED: $1: $2"; }

# The libraries of a target, from rustup if they are not there.
libraries() {
    [[ -d "$(rustc --print sysroot)/lib/rustlib/$1/lib" ]] && return
    command -v rustup >/dev/null && timeout "$FETCH_SECONDS" rustup target add "$1"
}

# run TARGET PROGRAM ARGUMENT...: on the machine that the target stands for.
run() {
    local target=$1
    shift
    case $target in
    wasm32-wasip1) node --no-warnings .ci/wasi.mjs "$@" ;;
    s390x-unknown-linux-gnu) qemu-s390x -L /usr/s390x-linux-gnu "$@" ;;
    i686-unknown-linux-gnu) "/usr/i686-linux-gnu/lib/ld-linux.so.2" --library-path /usr/i686-linux-gnu/lib "$@" ;;
    esac
}

check() {
    local target=$1 suffix='' tool tools=() program
    case $target in
    wasm32-wasip1)
        suffix=.wasm
        tools=(node)
        ;;
    i686-unknown-linux-gnu)
        tools=(i686-linux-gnu-gcc)
        export CARGO_TARGET_I686_UNKNOWN_LINUX_GNU_LINKER=i686-linux-gnu-gcc
        ;;
    s390x-unknown-linux-gnu)
        tools=(s390x-linux-gnu-gcc qemu-s390x)
        export CARGO_TARGET_S390X_UNKNOWN_LINUX_GNU_LINKER=s390x-linux-gnu-gcc
        ;;
    *)
        echo "other_target: unknown target $target" >&2
        return 2
        ;;
    esac
    for tool in "${tools[@]}"; do
        command -v "$tool" >/dev/null || { skip "$target" "there is no $tool"; return; }
    done
    libraries "$target" || { skip "$target" "its libraries are not installed and could not be fetched"; return; }
    cargo build "${example[@]}" --target "$target"
    program="${CARGO_TARGET_DIR:-target}/$target/release/examples/score_digest$suffix"
    run "$target" "$program" >"$scratch/published"
    diff "$published" "$scratch/published" || { echo "other_target: $target scores otherwise than published" >&2; return 1; }
    run "$target" "$program" "$CROWDS" >"$scratch/many"
    diff "$scratch/here" "$scratch/many" || { echo "other_target: $target scores otherwise than this machine" >&2; return 1; }
    echo "$target scores as this machine does:"
    sed 's/^/    /' "$published"
}

(($# > 0)) || set -- wasm32-wasip1
cargo build "${example[@]}"
here="${CARGO_TARGET_DIR:-target}/release/examples/score_digest"
"$here" >"$scratch/published"
diff "$published" "$scratch/published" || { echo "other_target: this machine scores otherwise than published" >&2; exit 1; }
"$here" "$CROWDS" >"$scratch/here"
# Other orders of the same votes, on threads that run at once.
for threads in 2 8; do
    "$here" "$CROWDS" "$threads" "$threads" >"$scratch/threads"
    diff "$scratch/here" "$scratch/threads" || { echo "other_target: the order or $threads threads change scores" >&2; exit 1; }
done
for target in "$@"; do
    check "$target"
done
