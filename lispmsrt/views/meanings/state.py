"""Counters of a Map-Server's state file."""

from __future__ import annotations

from lispmsrt.views.meanings.groups import Group

__all__ = ["STATE"]

STATE = Group(
    "state",
    ("mapping/restoring.py", "storage/memory.py", "storage/loading.py"),
    {
        "restored": "Registrations known from before the start, of which none had ended.",
        "not restored, expired meanwhile": (
            "Registrations whose time was over when the Map-Server was started."
        ),
        "not restored, no longer allowed": (
            "Registrations that the sites configured now would refuse."
        ),
        "not restored, registered anew": (
            "Somebody else registered the EID-prefix before it could be restored."
        ),
        "not restored, no room or not to be merged": (
            "There are max-registrations already, or what is there can't be merged with it."
        ),
        "not restored, damaged": "Rows of the state file that can't be read; left out.",
        "files set aside": (
            "Files in the place of the state file that were damaged, or not ours: renamed, and"
            " nothing is known of before."
        ),
        "too many changes at once": (
            "More than could be written: forgotten, and all that is registered is written anew;"
            " until then a restart is behind."
        ),
        "reads failed": "Restoring ended early, because the state file could not be read.",
        "writes": "Portions that were written to the state file.",
        "writes failed": "Portions that could not be written; they are tried again.",
    },
)
