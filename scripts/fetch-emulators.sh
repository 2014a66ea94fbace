#!/bin/sh
# Fetches what the emulated clouds of the tests and of `make cloud-demo` are made with, into a virtual environment: moto, Google's
# discovery documents and Microsoft's models, from the Python package index that pip is set up for.
#
#   scripts/fetch-emulators.sh DIR
#
# Nothing is done when DIR holds these versions already.
set -eu

PACKAGES="moto[server]==5.2.5 google-api-python-client==2.202.0 azure-mgmt-compute==39.0.0 azure-mgmt-network==33.1.0"

fail() {
    echo "fetch-emulators: $1" >&2
    exit 1
}

[ $# -eq 1 ] || { echo "usage: scripts/fetch-emulators.sh DIR" >&2; exit 2; }
dir=$1
is_there() { [ "$(cat "$dir/.emulators" 2>/dev/null || true)" = "$PACKAGES" ]; }

is_there && exit 0
[ -e "$dir" ] && [ ! -e "$dir/pyvenv.cfg" ] && fail "$dir was not made by this script: name another folder"
command -v python3 >/dev/null || fail "python3 not found: run scripts/setup test"
mkdir -p "$(dirname "$dir")"
# One caller fetches, the others wait and find it done. The stamp is written last: without it all is made anew.
exec 9>"$dir.lock"
flock 9
is_there && exit 0
echo "fetch-emulators: installing $PACKAGES into $dir" >&2
python3 -m venv --clear "$dir" || fail "cannot make a virtual environment in $dir: run scripts/setup test"
"$dir/bin/python" -m pip install --quiet --disable-pip-version-check --no-input $PACKAGES || fail "pip cannot install $PACKAGES"
printf '%s' "$PACKAGES" >"$dir/.emulators"
