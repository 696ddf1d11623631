#!/bin/sh
# Run trial on what is named, then print "N passed, N failed[, N skipped]" from trial's own summary.
#
#   tools/run-tests.sh MINUTES TEST...
#
# Fails if a test failed, if no test passed, if one skipped under CI, or if trial died or hung before
# its summary.
# The tests are told (LISPMSRT_ALL_TESTS) if all are run, so that what takes long begins early.
# Environment: VENV (where the Python is), TRIAL_FLAGS (more options for trial).

set -eu

cd "$(dirname "$0")/.."
minutes=$1
shift
if [ "$*" = tests ]; then export LISPMSRT_ALL_TESTS=1; fi
log=$(mktemp)
trap 'rm -f "$log" "$log.status"' EXIT
trap 'exit 130' INT TERM HUP

# On the time limit trial gets what Ctrl-C sends, so that it still prints its summary.
run_trial() {
    # shellcheck disable=SC2086 # TRIAL_FLAGS is a list
    timeout --foreground --signal=INT --kill-after=60 "${minutes}m" \
        "${VENV:-.venv}/bin/python" -m twisted.trial ${TRIAL_FLAGS:-} "$@"
}

{ status=0; run_trial "$@" || status=$?; echo "$status" >"$log.status"; } 2>&1 | tee "$log"
status=$(cat "$log.status")

# The last lines: "Ran 7 tests in 0.1s", empty, "FAILED (skips=1, failures=2, successes=4)".
summary=$(sed -nE 's/^(PASSED|FAILED)( \((.*)\))?$/\1 \3/p' "$log" | tail -n 1)
count() {
    number=$(echo "$summary" | tr -d ',' | tr ' ' '\n' | sed -n "s/^$1=//p")
    echo "${number:-0}"
}
passed=$(($(count successes) + $(count expectedFailures)))
failed=$(($(count failures) + $(count errors) + $(count unexpectedSuccesses)))
skipped=$(count skips)

if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
    echo "The tests took longer than $minutes minutes and were stopped." >&2
elif [ -z "$summary" ]; then
    echo "trial ended with status $status before it had a summary: see above." >&2
elif [ "$((passed + failed))" -eq 0 ]; then
    echo "No test ran: does $* hold any?" >&2
    status=1
fi
if [ "$skipped" -gt 0 ] && [ -n "${CI:-}" ]; then
    echo "Under CI no test may skip: what it needs must be installed." >&2
    status=1
fi
if [ "$failed" -gt 0 ] && [ "$status" -eq 0 ]; then status=1; fi
if [ -z "$summary" ] && [ "$status" -eq 0 ]; then status=1; fi

if [ "$skipped" -gt 0 ]; then
    echo "$passed passed, $failed failed, $skipped skipped"
else
    echo "$passed passed, $failed failed"
fi
exit "$status"
