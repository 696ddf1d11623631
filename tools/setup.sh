#!/bin/sh
# Set up what a make target needs, and do nothing (fast) when it is there.
#
#   tools/setup.sh demo       .venv with the package and its transports, the SCTP of user space
#   tools/setup.sh lint       .venv with the package and the linters
#   tools/setup.sh test       .venv with what the tests need, and the Debian packages that judge us
#   tools/setup.sh internet   .venv with the package, and the Debian packages that hold the data
#   tools/setup.sh bench      the same, and the transports
#   tools/setup.sh plot       .venv with the package and what draws
#   tools/setup.sh fuzz       .venv with what the tests need, and the fuzzing engine
#   tools/setup.sh clean      remove .venv
#
# Environment: PYTHON (the interpreter to build .venv from), VENV (its place), CI (if set, a missing
# Debian package is an error where it is otherwise a remark).
#
# .venv/lispmsrt-setup says what .venv was made from. It is emptied before anything is changed and
# written when all is done: a set-up that was interrupted is never trusted, but done again from nothing.

set -eu

cd "$(dirname "$0")/.."
target=${1:-}
venv=${VENV:-.venv}
venv=${venv%/}
record=$venv/lispmsrt-setup
log=

say() { printf 'lispmsrt set-up: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
is_root() { [ "$(id -u)" -eq 0 ]; }

# quietly SENTENCE COMMAND...: run it; if it fails show the end of what it printed, and the sentence.
quietly() {
    sentence=$1
    shift
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    trap 'rm -f "$log"; exit 130' INT TERM HUP
    if ! "$@" >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        die "$sentence"
    fi
    rm -f "$log"
}

# ---- Debian packages ---------------------------------------------------------------------------

apt_get() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@"
}

apt_install() {
    say "installing Debian packages: $*"
    # A broken third-party source must not stop us: the lists at hand may do.
    apt_get update >/dev/null 2>&1 || say "apt-get update failed; going on with the package lists at hand"
    quietly "apt-get could not install $*: put right what it says above and run make again." \
        apt_get install -y --no-install-recommends "$@"
}

has_library() {
    ldconfig -p 2>/dev/null | grep -q "$1" || /sbin/ldconfig -p | grep -q "$1"
}

has_debian() {
    case $1 in
        libloc-database) [ -e /var/lib/location/database.db ] ;;
        libusrsctp2) has_library libusrsctp ;;
        libatomic1) has_library libatomic ;; # the node that drives the browser needs it
        user-mode-linux) command -v linux.uml >/dev/null 2>&1 ;;
        nftables) command -v nft >/dev/null 2>&1 || [ -x /usr/sbin/nft ] ;;
        iproute2) command -v ip >/dev/null 2>&1 || [ -x /sbin/ip ] ;;
        *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

# need_debian WHAT-FOR PACKAGE...: install what is missing, or say what to run.
need_debian() {
    what_for=$1
    shift
    missing=
    for package in "$@"; do
        has_debian "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    if is_root && command -v apt-get >/dev/null 2>&1; then
        # shellcheck disable=SC2086 # a list of package names
        apt_install $missing
        return 0
    fi
    sentence="missing for $what_for:$missing; install with \`sudo apt-get install$missing\`."
    if [ "$what_for" != "make internet" ] && [ -z "${CI:-}" ]; then
        say "$sentence Going on without."
    else
        die "$sentence"
    fi
}

# ---- Python ------------------------------------------------------------------------------------

is_recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

# The first Python that runs and is recent enough; an old python3, or a pyenv shim without a version
# behind it, is passed over.
choose_python() {
    if [ -n "${PYTHON:-}" ]; then
        is_recent "$PYTHON" || die "PYTHON=$PYTHON is not a Python 3.11 or newer: name another one."
        echo "$PYTHON"
        return
    fi
    for candidate in python3 /usr/bin/python3 python3.13 python3.12 python3.11 python3.14 python3.15; do
        if is_recent "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    die "no Python 3.11 or newer found: install one, or name it with make PYTHON=/path/to/python3."
}

# Debian's python3 comes without ensurepip, which venv needs.
need_ensurepip() {
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1 && return
    package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if is_root && command -v apt-get >/dev/null 2>&1; then
        apt_install "$package"
    else
        die "$1 cannot make a virtual environment: run \`sudo apt-get install $package\` and make again."
    fi
}

make_venv() {
    python=$(choose_python)
    need_ensurepip "$python"
    say "making $venv with $("$python" -c 'import sys; print(sys.executable, sys.version.split()[0])')"
    # Renamed first: half a .venv without its record would pass for somebody's own.
    rm -rf "$venv.old" "$venv.new"
    if [ -e "$venv" ]; then mv "$venv" "$venv.old"; fi
    mkdir -p "$venv.new"
    : >"$venv.new/${record##*/}"
    mv "$venv.new" "$venv"
    rm -rf "$venv.old"
    quietly "$python could not make $venv: see above." "$python" -m venv "$venv"
}

# What compiles the hot paths. Without it the package is pure Python, and slower.
need_compiler() {
    python=$1
    headers='import os, sys, sysconfig; h = sysconfig.get_path("include"); sys.exit(not os.path.exists(h + "/Python.h"))'
    "$python" -c "$headers" && command -v gcc >/dev/null 2>&1 && return 0
    packages='gcc libc6-dev'
    # Another Python than Debian's brings its headers along.
    from_debian='import sys; sys.exit(sys.base_prefix != "/usr")'
    if "$python" -c "$from_debian"; then
        packages="$packages $("$python" -c 'import sys; print("python%d.%d-dev" % sys.version_info[:2])')"
    fi
    if is_root && command -v apt-get >/dev/null 2>&1; then
        # shellcheck disable=SC2086 # a list of package names
        apt_install $packages
        return 0
    fi
    sentence="no C compiler: the hot paths stay in Python and are several times slower; install one with \`sudo apt-get install $packages\`."
    if [ -z "${CI:-}" ]; then say "$sentence Going on without."; else die "$sentence"; fi
}

# editable_mode=compat: the default kind of editable install hides the twistd plugin.
install_package() {
    extras=$1
    need_compiler "$venv/bin/python"
    say "installing lispmsrt${extras:+[$extras]} and what it depends on into $venv"
    : >"$record"
    quietly "pip could not install the Python packages: see above (is the package index reachable?)." \
        env PIP_USER=0 "$venv/bin/python" -m pip install --quiet --no-input \
        --disable-pip-version-check --config-settings editable_mode=compat \
        --editable ".${extras:+[$extras]}"
    printf '%s\n' "$(pwd -P)" "${PYTHON:-}" "$(declared)" "$extras" >"$record.new"
    mv "$record.new" "$record"
}

# ---- The record: the checkout, PYTHON= if given, what was declared, the extras -------------------

field() { sed -n "$1p" "$record"; }

# What the installed packages follow from.
declared() {
    { cat pyproject.toml setup.py tools/setup.sh; find lispmsrt -name '*.p[yx][xd]' | LC_ALL=C sort | xargs cat; } | cksum
}

# A .venv names its place in its scripts, so a copied or moved checkout needs a new one; without
# PYTHON= any Python that it was made from will do, as long as it is still there.
is_usable() {
    [ -s "$record" ] || return 1
    [ "$(field 1)" = "$(pwd -P)" ] || return 1
    [ -z "${PYTHON:-}" ] || [ "$(field 2)" = "$PYTHON" ] || return 1
    "$venv/bin/python" -c '' >/dev/null 2>&1
}

has_extras() {
    for extra in $(echo "$1" | tr , ' '); do
        case ,$(field 4), in *",$extra,"*) ;; *) return 1 ;; esac
    done
}

# need_venv EXTRAS: .venv with at least these extras. Those that are there stay.
need_venv() {
    wanted=$1
    if [ -e "$venv" ] && [ ! -e "$record" ]; then
        die "$venv was not made by this script: move it away, or name another place with make VENV=DIR."
    fi
    # Two runs in one checkout take turns.
    if command -v flock >/dev/null 2>&1; then
        exec 9>"$venv.lock"
        flock -n 9 || { say "another set-up is at work here; waiting for it"; flock 9; }
    fi
    if is_usable; then
        have=$(field 4)
        if has_extras "$wanted" && [ "$(field 3)" = "$(declared)" ]; then
            return 0
        fi
    else
        have=
        make_venv
    fi
    install_package "$(echo "$have,$wanted" | tr , '\n' | sed '/^$/d' | sort -u | paste -s -d , -)"
}

remove_venv() {
    if [ -e "$record" ]; then
        rm -rf "$venv" "$venv.old" "$venv.new" "$venv.lock"
    elif [ -e "$venv" ]; then
        say "leaving $venv alone: it was not made by this script."
    fi
}

# pysctp comes built for these only; elsewhere it wants a compiler and libsctp-dev.
transports() {
    built='import platform, sys; sys.exit(platform.machine() != "x86_64" or sys.version_info > (3, 14))'
    if "$(choose_python)" -c "$built"; then echo quic,sctp; else echo quic; fi
}

case $target in
    demo)
        need_venv "$(transports)"
        need_debian "SCTP in user space" libusrsctp2
        ;;
    lint) need_venv lint,quic ;;
    test)
        need_venv "test,$(transports)"
        need_debian "the tests" tshark location libloc-database libusrsctp2 user-mode-linux \
            nftables iproute2 openssl chromium libatomic1 prometheus zsh
        ;;
    internet)
        need_venv ""
        need_debian "make internet" location libloc-database
        ;;
    bench)
        need_venv "$(transports)"
        need_debian "the routed Internet" location libloc-database
        ;;
    plot) need_venv plot ;;
    fuzz) need_venv fuzz,test ;;
    clean) remove_venv ;;
    *) die "usage: $0 demo|lint|test|internet|bench|plot|fuzz|clean" ;;
esac
