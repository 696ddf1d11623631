#!/bin/sh
# Fail unless the tests reach every line and branch of the packages that read what peers send.
#
#   tools/check-coverage.sh TEST...
#
# They run in pure Python: it is what the compiled twins are measured by, and what runs without them. What
# calls the twins is reached by their own tests, which follow.
#
# Environment: VENV (where the Python is).

set -eu

cd "$(dirname "$0")/.."
python=${VENV:-.venv}/bin/python
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM HUP
export COVERAGE_FILE="$scratch/coverage"

# covered TEST...: run them, and add what they reach.
covered() {
    if ! "$python" -m coverage run --append --branch --source=lispmsrt.wire,lispmsrt.session \
        -m twisted.trial --temp-directory "$scratch/trial" "$@" >"$scratch/log" 2>&1; then
        tail -n 40 "$scratch/log"
        exit 1
    fi
}

export LISPMSRT_PURE=1
covered "$@"
unset LISPMSRT_PURE
covered tests.test_etr_twins tests.test_framing tests.test_likeness_twin
"$python" -m coverage report --show-missing --skip-covered --fail-under=100
