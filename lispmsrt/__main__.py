"""``python -m lispmsrt COMMAND`` does what ``lispmsrt COMMAND`` does."""

from __future__ import annotations

import sys

from lispmsrt.cli import main

if __name__ == "__main__":
    sys.exit(main())
