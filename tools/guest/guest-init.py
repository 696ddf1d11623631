"""PID 1 of the guest: set the machine up, run the command, note its exit code, power off.

Started by run-in-guest.sh with the folder of its questions and answers as the only argument.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import subprocess
import sys
import traceback
from collections.abc import Iterable, Iterator

RUN = sys.argv[1]
COVERED = ("/tmp", "/run", "/dev/shm")
"""Empty in the guest, and its own."""

FINIT_MODULE = {"x86_64": 313, "aarch64": 273}
"""The system call, which libc has no function for."""

MS_RDONLY = 1
RB_POWER_OFF = 0x4321FEDC

libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Set up, run, note."""
    mount("proc", "/proc", "proc")
    mount("sysfs", "/sys", "sysfs")
    # Before /tmp is covered: these may lie there.
    load_modules(read("modules").split())
    readable, writable = folders("readable"), {RUN, *folders("writable")}
    for path in COVERED:
        mount("tmpfs", path, "tmpfs", "mode=1777")
    mount("devpts", "/dev/pts", "devpts")
    for path in sorted(writable):
        mount("hostfs", path, "hostfs", path)
    for path in sorted(readable):
        if is_below(path, COVERED) and not is_below(path, writable):
            mount("hostfs", path, "hostfs", path, MS_RDONLY)
    # With a loopback MTU of 65536 large SCTP messages stall on delayed SACKs.
    subprocess.run(["ip", "link", "set", "lo", "up", "mtu", "1500"], check=True)
    with open(f"{RUN}/status", "w") as status:
        status.write(f"{run_command()}\n")


def run_command() -> int:
    """Run it with its output on console 0; return its exit code."""
    shell = f'. {RUN}/environment; cd "$0" && . {RUN}/command'
    with open("/dev/tty0", "wb", buffering=0) as terminal:
        subprocess.run(["stty", "raw", "-echo"], stdin=terminal, check=True)
        done = subprocess.run(
            ["/bin/sh", "-c", shell, read("folder").strip()],
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=terminal,
        )
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


def read(name: str) -> str:
    """Return what run-in-guest.sh has written."""
    with open(f"{RUN}/{name}") as file:
        return file.read()


def folders(name: str) -> set[str]:
    """Return a list of folders that run-in-guest.sh has written."""
    return {os.path.normpath(line) for line in read(name).splitlines() if line}


def is_below(path: str, folders: Iterable[str]) -> bool:
    """Whether a folder is one of these or inside of one."""
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def mount(source: str, target: str, kind: str, data: str = "", flags: int = 0) -> None:
    """Mount a file system, on a folder that is made if need be."""
    os.makedirs(target, exist_ok=True)
    arguments = (source.encode(), target.encode(), kind.encode(), flags, data.encode())
    check(libc.mount(*arguments), f"mount {kind} on {target}")


def load_modules(names: list[str]) -> None:
    """Load modules and what they need; one that is built in has no file, and is passed over."""
    system_call = FINIT_MODULE[platform.machine()]
    for path in module_files(names):
        with open(path, "rb") as module:
            result = libc.syscall(system_call, module.fileno(), b"", 0)
            check(result, f"load {path}", errno.EEXIST)


def module_files(names: list[str]) -> Iterator[str]:
    """Yield the files to load in order, by this kernel's modules.dep: there may be no kmod here."""
    folder = f"{os.readlink(f'{RUN}/modules.from')}/{os.uname().release}"
    needs = {}
    with open(f"{folder}/modules.dep") as lines:
        for module, _, rest in (line.partition(":") for line in lines):
            needs[os.path.basename(module).removesuffix(".ko")] = [module, *rest.split()]
    with open(f"{folder}/modules.builtin") as lines:
        built_in = {os.path.basename(line.strip()).removesuffix(".ko") for line in lines}
    for name in names:
        if name not in needs and name not in built_in:
            raise FileNotFoundError(f"this kernel has no module {name}")
        for path in reversed(needs.get(name, [])):
            yield f"{folder}/{path}"


def check(result: int, what: str, allowed: int = 0) -> None:
    """Raise OSError for a call that failed, unless in the way that is allowed."""
    code = ctypes.get_errno()
    if result != 0 and code != allowed:
        raise OSError(code, f"{what}: {os.strerror(code)}")


try:
    main()
except BaseException:
    traceback.print_exc()
finally:
    os.sync()
    libc.reboot(RB_POWER_OFF)
