#!/bin/sh
# Fetches programs of others that read NVML, for tests: pynvml (nvidia-ml-py) and nvitop, from the Python package
# index that pip is set up for, into a virtual environment.
#
#   scripts/fetch-python-tools.sh DIR
#
# Nothing is done when DIR holds these versions already.
set -eu

PACKAGES="nvidia-ml-py==13.615.71 nvitop==1.7.2 psutil==7.2.2"

fail() {
    echo "fetch-python-tools: $1" >&2
    exit 1
}

[ $# -eq 1 ] || { echo "usage: scripts/fetch-python-tools.sh DIR" >&2; exit 2; }
dir=$1
is_there() { [ "$(cat "$dir/.python-tools" 2>/dev/null || true)" = "$PACKAGES" ]; }

is_there && exit 0
[ -e "$dir" ] && [ ! -e "$dir/pyvenv.cfg" ] && fail "$dir was not made by this script: name another folder"
command -v python3 >/dev/null || fail "python3 not found: run scripts/setup test"
mkdir -p "$(dirname "$dir")"
# One caller fetches, the others wait and find it done. The stamp is written last: without it all is made anew.
exec 9>"$dir.lock"
flock 9
is_there && exit 0
echo "fetch-python-tools: installing $PACKAGES into $dir" >&2
python3 -m venv --clear "$dir" || fail "cannot make a virtual environment in $dir: run scripts/setup test"
"$dir/bin/python" -m pip install --quiet --disable-pip-version-check --no-input $PACKAGES || fail "pip cannot install $PACKAGES"
printf '%s' "$PACKAGES" >"$dir/.python-tools"
