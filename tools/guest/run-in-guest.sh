#!/bin/sh
# Run one shell command on a User Mode Linux kernel, which has SCTP, and exit with the command's exit
# code (125: the guest did not get that far).
#
#   tools/guest/run-in-guest.sh 'command'
#
# The guest sees this machine's files read-only, an empty /tmp, /run and /dev/shm, loopback and no
# other network. Its user is root, its clock this machine's. Environment:
#
#   GUEST_RW       folders it may write to, with colons (unset: the current folder; empty: none)
#   GUEST_RO       folders it must see though they lie in /tmp, /run or /dev/shm
#   GUEST_MODULES  more kernel modules, such as "veth sch_netem"
#   GUEST_MEM      its memory (512M)
#   GUEST_TIMEOUT  seconds that it may take (300)
#   GUEST_PYTHON   the Python that sets it up (python3); a pyenv shim would cost it seconds
#   UML, UML_MODULES  where linux.uml and its modules are, if not where Debian puts them
#
# The command has all of this environment.

set -eu

die() { echo "$0: $*" >&2; exit 125; }

[ $# -eq 1 ] || { echo "usage: $0 'command'" >&2; exit 64; }

here=$(cd "$(dirname "$0")" && pwd)
uml=${UML:-$(command -v linux.uml || true)}
modules=${UML_MODULES:-/usr/lib/uml/modules}
[ -n "$uml" ] || die "linux.uml is missing: install it with \`apt-get install user-mode-linux\`."
[ -x "$uml" ] || die "$uml can't be run: set UML to User Mode Linux, or install user-mode-linux."
[ -d "$modules" ] || die "$modules is missing: set UML_MODULES to the modules of $uml."
python=$("${GUEST_PYTHON:-python3}" -c 'import os, sys; print(os.path.realpath(sys.executable))') ||
    die "${GUEST_PYTHON:-python3} can't be run: set GUEST_PYTHON to a Python 3.11 or newer."

run=$(mktemp -d "${TMPDIR:-/tmp}/guest.XXXXXX")
trap 'rm -rf "$run"' EXIT
trap 'exit 130' INT TERM HUP

# What guest-init.py reads.
printf '%s\n' "$1" >"$run/command"
export -p >"$run/environment"
pwd >"$run/folder"
printf '%s\n' "${GUEST_RW-$PWD}" | tr : '\n' >"$run/writable"
printf '%s\n' "$PWD${GUEST_RO:+:$GUEST_RO}" | tr : '\n' >"$run/readable"
# hmac: without it an SCTP socket can't listen.
echo hmac sctp af_packet "${GUEST_MODULES:-}" >"$run/modules"
ln -s "$modules" "$run/modules.from"
cp "$here/guest-init.py" "$run/init.py"
mkdir "$run/kernel"

# Console 0 carries the command's output and nothing else; the kernel's own words go to console 1, a
# file. What follows "--" is for init.
timeout --foreground -k 5 "${GUEST_TIMEOUT:-300}" \
    "$uml" uml_dir="$run/kernel" umid=guest mem="${GUEST_MEM:-512M}" quiet \
    rootfstype=hostfs rootflags=/ ro con=null con0=null,fd:3 con1=null,fd:4 console=tty1 \
    init="$python" -- -SE "$run/init.py" "$run" \
    3>&1 4>"$run/console" >"$run/boot" 2>&1 </dev/null || true

[ ! -s "$run/status" ] || exit "$(cat "$run/status")"
echo "$0: no exit code came back within ${GUEST_TIMEOUT:-300} s; the guest said:" >&2
cat "$run/boot" "$run/console" >&2
exit 125
