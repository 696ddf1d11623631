"""``python -m tests.simulate``: SEEDS=100 runs so many, SEED=7 that one, HOURS=2 virtual each.

FIRST=1000 begins elsewhere, SECONDS=60 stops after so much CPU time.
"""

from __future__ import annotations

import os
import sys
import time

from lispmsrt.compiled import twin
from tests.simulate.running import Sums, run_seed

_HOURS = 12.0


def main() -> int:
    """Run seeds; the exit code is 1 when one of them breaks a promise."""
    environment = os.environ
    hours = float(environment.get("HOURS", _HOURS))
    first = int(environment.get("FIRST", 1))
    seeds = range(first, first + int(environment.get("SEEDS", 125)))
    if environment.get("SEED"):
        seeds = range(int(environment["SEED"]), int(environment["SEED"]) + 1)
    most = float(environment.get("SECONDS", "inf"))
    sums, failed, began = Sums(), [], time.process_time()
    is_compiled = twin("lispmsrt.wire._keyed_hash") is not None
    print(f"{len(seeds)} seeds of {hours:g} virtual hours,", "compiled" if is_compiled else "pure")
    for seed in seeds:
        report = run_seed(seed, hours, sums)
        if report is not None:
            failed.append(seed)
            print(report.text(), flush=True)
        if time.process_time() - began > most:
            break
    print(sums.text())
    print(f"seeds that break a promise: {failed}" if failed else "every promise was kept")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
