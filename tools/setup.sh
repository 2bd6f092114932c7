#!/bin/sh
# Makes the virtual environment named by $1: every dependency as locked, then Limner itself, editable.
set -eu
venv=${1:-.venv}

say() { printf 'setup: %s\n' "$*" >&2; }
stop() { say "$*"; exit 1; }

find_python() {
    for name in python3 python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    stop "Limner needs Python 3.11 or newer, and none was found; install python3 and run this again."
}

# Debian and Ubuntu ship venv in a package of its own.
install_venv_package() {
    version=$("$1" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    as_root=""
    if [ "$(id -u)" -ne 0 ]; then as_root="sudo -n"; fi
    if ! command -v apt-get >/dev/null || { [ -n "$as_root" ] && ! $as_root true 2>/dev/null; }; then
        stop "$1 cannot make virtual environments; as root, run 'apt-get install $version-venv' and try again."
    fi
    say "installing $version-venv"
    $as_root apt-get update -qq
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$version-venv" >&2
}

make_venv() {
    python=$(find_python)
    if "$python" -c 'import ensurepip' 2>/dev/null; then
        "$python" -m venv "$venv"
    elif command -v uv >/dev/null; then
        uv venv --quiet --python "$python" "$venv"
    else
        install_venv_package "$python"
        "$python" -m venv "$venv"
    fi
}

# Prints a uv that works: the environment's own, installed as locked, or the one on the PATH; nothing where neither is.
find_uv() {
    if [ ! -x "$venv/bin/uv" ] && "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        awk '/^[^ #]/ { mine = /^uv==/ } mine' requirements.lock >"$venv/uv.lock"
        "$venv/bin/python" -m pip install --quiet --require-hashes --no-deps -r "$venv/uv.lock" >&2 || true
    fi
    if [ -x "$venv/bin/uv" ]; then echo "$venv/bin/uv"; else command -v uv || true; fi
}

with_uv() {
    "$1" pip sync --quiet --python "$venv/bin/python" --require-hashes requirements.lock &&
        "$1" pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation --editable .
}

with_pip() {
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$venv/bin/python" -m ensurepip >&2 || return 1
    "$venv/bin/python" -m pip install --quiet --require-hashes --no-deps -r requirements.lock &&
        "$venv/bin/python" -m pip install --quiet --no-deps --no-build-isolation --editable .
}

[ -x "$venv/bin/python" ] || make_venv
uv=$(find_uv)
# pip may know of an index that uv was not told of, so it has the last word.
{ [ -n "$uv" ] && with_uv "$uv"; } || with_pip || stop "the dependencies could not be installed; see above."
say "ready: $("$venv/bin/python" --version), $venv"
