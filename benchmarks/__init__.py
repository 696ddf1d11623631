"""Benchmarks: what a Map-Server does with the whole Internet, and how fast. Not installed."""

import os

# A daemon that is measured keeps nothing where that of the machine would.
os.environ["LISPMSRT_STATE"] = "off"
