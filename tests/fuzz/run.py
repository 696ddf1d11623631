"""Fuzz: ``python -m tests.fuzz.run --executions 100000 [--target NAME]...``.

With atheris (Google's libFuzzer for Python) inputs are found by the branches that they reach,
without it they are mutations of the corpus. Each target gets a process of its own; what breaks one
is printed as hex, and a line of a file in ``crashers/``.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.fuzz.corpus import CORPUS, CRASHERS, inputs, write
from tests.fuzz.mutations import mutations

__all__ = ["main"]

_MAX_INPUT = 4096
_INSTRUMENTED = ["lispmsrt.wire", "lispmsrt.mapping", "lispmsrt.session", "lispmsrt.control"]


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.fuzz.run", description=__doc__)
    parser.add_argument("--executions", type=int, default=20_000, help="of each target")
    parser.add_argument("--target", action="append", help="only these")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="add to corpus/ what reached more")
    parser.add_argument("--plain", action="store_true", help="mutations, even where atheris is")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Run; return how many targets broke."""
    options = _arguments(given)
    uses_atheris = not options.plain and importlib.util.find_spec("atheris") is not None
    if options.child:
        return _with_atheris(options, Path(options.child))
    from tests.fuzz.targets import TARGETS

    broken = 0
    for name in options.target or TARGETS:
        began = time.monotonic()
        if uses_atheris:
            is_sound = _in_child(name, options)
        else:
            is_sound = _with_mutations(name, TARGETS[name], options)
        took = time.monotonic() - began
        print(f"{name}: {options.executions} executions in {took:.1f} s", flush=True)
        broken += not is_sound
    return broken


def _with_mutations(name: str, run: Callable[[bytes], None], options: argparse.Namespace) -> bool:
    seeds = [*inputs(CORPUS, name), *inputs(CRASHERS, name), b""]
    for data in mutations(seeds, options.executions, options.seed):
        try:
            run(data)
        except BaseException:
            print(f"{name} broke on {data.hex()}", flush=True)
            raise
    return True


def _in_child(name: str, options: argparse.Namespace) -> bool:
    """Fuzz one target in a process of its own, for libFuzzer ends the one it is in."""
    with tempfile.TemporaryDirectory() as directory:
        corpus = Path(directory, "corpus")
        corpus.mkdir()
        seeds = [*inputs(CORPUS, name), *inputs(CRASHERS, name)]
        for number, data in enumerate(seeds):
            (corpus / f"{number:05}").write_bytes(data)
        command = [sys.executable, "-m", "tests.fuzz.run", "--child", str(directory)]
        command += ["--target", name, "--executions", str(options.executions)]
        done = subprocess.run(
            [*command, "--seed", str(options.seed)], capture_output=True, text=True, check=False
        )
        for path in Path(directory).glob("broke-*"):
            print(f"{name} broke on {path.read_bytes().hex()}", flush=True)
        lines = [line for line in done.stderr.splitlines() if "cov:" in line]
        print(f"{name}: {lines[-1] if lines else 'nothing was reached'}", flush=True)
        if done.returncode:
            print(done.stderr[-4000:], flush=True)
        elif options.keep:
            write(CORPUS, name, [*seeds, *(path.read_bytes() for path in corpus.iterdir())])
        return done.returncode == 0


def _with_atheris(options: argparse.Namespace, directory: Path) -> int:
    import atheris

    with atheris.instrument_imports(include=_INSTRUMENTED):
        from tests.fuzz.targets import TARGETS
    (name,) = options.target
    flags = [f"-runs={options.executions}", f"-seed={options.seed}", f"-max_len={_MAX_INPUT}"]
    flags += ["-len_control=0", f"-artifact_prefix={directory}/broke-", "-timeout=20"]
    atheris.Setup(["fuzz", *flags, str(directory / "corpus")], TARGETS[name])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
