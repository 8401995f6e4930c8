#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What CI runs: the test command of the README, on a machine that has only rustup. Works from any directory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export CI=true
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-never}"
# No build script asks a question, and no test may wait for a terminal.
export DEBIAN_FRONTEND=noninteractive

stage() {
    local name=$1 begin=$SECONDS
    shift
    echo "==> $name"
    local code=0
    "$@" || code=$?
    if ((code != 0)); then
        echo "==> $name: FAILED with code $code after $((SECONDS - begin)) s"
        exit "$code"
    fi
    echo "==> $name: ok, $((SECONDS - begin)) s"
}

# rustup brings the compiler, not the linker that it calls.
linker() {
    if command -v cc >/dev/null; then
        return 0
    fi
    if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
        echo "no C linker: install gcc and the C library's headers (Debian: gcc libc6-dev)" >&2
        return 1
    fi
    echo "installing gcc libc6-dev"
    apt-get -q update && apt-get -q install -y --no-install-recommends gcc libc6-dev
}

rust() {
    # A shell that is not a login shell may not have it in PATH.
    if ! command -v cargo >/dev/null && [[ -x ${CARGO_HOME:-$HOME/.cargo}/bin/cargo ]]; then
        export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    fi
    if ! command -v cargo >/dev/null; then
        echo "no cargo: install Rust with rustup" >&2
        return 1
    fi
    cargo --version
}

stage "linker" linker
stage "rust" rust
stage "cargo xtask test" cargo xtask test
