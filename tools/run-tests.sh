#!/bin/sh
# Run trial on what is named, then print "N passed, N failed[, N skipped]" from trial's own summary.
#
#   tools/run-tests.sh MINUTES TEST...
#
# Fails if a test failed, if no test passed, if one skipped under CI, or if trial died or hung before
# its summary.
# All tests together run in two processes, one for each of two cores: what an operator uses (web page,
# API, commands, metrics) and measures beside the rest. The second one's output follows when the first has ended.
# The tests are told (LISPMSRT_ALL_TESTS) if all are run, so that what takes long begins early.
# Environment: VENV (where the Python is), TRIAL_FLAGS (more options for trial).

set -eu

cd "$(dirname "$0")/.."
minutes=$1
shift
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM HUP

if [ "$*" = tests ]; then
    export LISPMSRT_ALL_TESTS=1
    beside=$(ls tests | sed -nE 's/^(test_(bench|clean_lives_daemon|cli_|demo|guide|metrics|observers|session_over_(quic|selection|tcp|tls)|show|soak|units|views_|web_).*)\.py$/tests.\1/p')
    # shellcheck disable=SC2046 # a list of modules
    set -- $(ls tests | sed -nE 's/^(test_.*)\.py$/tests.\1/p' | grep -vxF "$beside")
else
    beside=
fi

# run_trial NAME TEST...: leaves its output in $scratch/NAME and its exit code in $scratch/NAME.status.
# On the time limit trial gets what Ctrl-C sends, so that it still prints its summary.
run_trial() {
    name=$1
    shift
    status=0
    # shellcheck disable=SC2086 # TRIAL_FLAGS is a list
    timeout --foreground --signal=INT --kill-after=60 "${minutes}m" \
        "${VENV:-.venv}/bin/python" -m twisted.trial --temp-directory "_trial_temp_$name" \
        ${TRIAL_FLAGS:-} "$@" 2>&1 || status=$?
    echo "$status" >"$scratch/$name.status"
}

if [ -n "$beside" ]; then
    # shellcheck disable=SC2086 # a list of modules
    run_trial beside $beside >"$scratch/beside" &
fi
run_trial tests "$@" | tee "$scratch/tests"
wait
if [ -n "$beside" ]; then cat "$scratch/beside"; fi

# The last lines of each: "Ran 7 tests in 0.1s", empty, "FAILED (skips=1, failures=2, successes=4)".
summary_of() { sed -nE 's/^(PASSED|FAILED)( \((.*)\))?$/\1 \3/p' "$scratch/$1" | tail -n 1; }
count() {
    for name in tests ${beside:+beside}; do
        summary_of "$name" | tr -d ',' | tr ' ' '\n' | sed -n "s/^$1=//p"
    done | awk '{ sum += $1 } END { print sum + 0 }'
}
passed=$(($(count successes) + $(count expectedFailures)))
failed=$(($(count failures) + $(count errors) + $(count unexpectedSuccesses)))
skipped=$(count skips)

status=0
for name in tests ${beside:+beside}; do
    ended=$(cat "$scratch/$name.status")
    if [ "$ended" -ne 0 ]; then status=$ended; fi
    if [ "$ended" -eq 124 ] || [ "$ended" -eq 137 ]; then
        echo "The tests took longer than $minutes minutes and were stopped." >&2
    elif [ -z "$(summary_of "$name")" ]; then
        echo "trial ended with status $ended before it had a summary: see above." >&2
        if [ "$status" -eq 0 ]; then status=1; fi
    fi
done
if [ "$((passed + failed))" -eq 0 ]; then
    echo "No test ran: does $* hold any?" >&2
    status=1
fi
if [ "$skipped" -gt 0 ] && [ -n "${CI:-}" ]; then
    echo "Under CI no test may skip: what it needs must be installed." >&2
    status=1
fi
if [ "$failed" -gt 0 ] && [ "$status" -eq 0 ]; then status=1; fi

if [ "$skipped" -gt 0 ]; then
    echo "$passed passed, $failed failed, $skipped skipped"
else
    echo "$passed passed, $failed failed"
fi
exit "$status"
