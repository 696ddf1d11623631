"""Tests mirror modules; hypothesis runs small, and the same way every time under CI. No daemon that
a test starts keeps what it knows where that of the machine would.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

os.environ["LISPMSRT_STATE"] = "off"

settings.register_profile(
    "lispmsrt",
    deadline=None,
    max_examples=60,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("lispmsrt")
