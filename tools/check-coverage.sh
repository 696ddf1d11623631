#!/bin/sh
# Fail unless the tests reach every line and branch of the packages that read what peers send.
#
#   tools/check-coverage.sh TEST...
#
# They run in pure Python: it is what the compiled twins are measured by, and what runs without them.
#
# Environment: VENV (where the Python is).

set -eu

cd "$(dirname "$0")/.."
python=${VENV:-.venv}/bin/python
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM HUP
export LISPMSRT_PURE=1
export COVERAGE_FILE="$scratch/coverage"

if ! "$python" -m coverage run --branch --source=lispmsrt.wire,lispmsrt.session \
    -m twisted.trial --temp-directory "$scratch/trial" "$@" >"$scratch/log" 2>&1; then
    tail -n 40 "$scratch/log"
    exit 1
fi
"$python" -m coverage report --show-missing --skip-covered --fail-under=100
