"""How long the certificates last that a Map-Server shows to its ETRs.

One that has expired closes nothing: ETRs that know the server by its public key (``pin``) don't ask
for the date, those with ``caFile`` refuse it. So it is said, in the log and to whoever looks.
"""

from __future__ import annotations

from datetime import UTC, datetime

from twisted.logger import Logger

from lispmsrt.transports.interfaces import certificate_of

__all__ = ["SOON", "CertificateDates"]

SOON = 14 * 86_400.0
"""Seconds before its end from which on a certificate is to be renewed."""


class CertificateDates:
    """The certificates of endpoint strings, from when and until when they are valid."""

    _log = Logger()

    def __init__(self) -> None:
        self._dates: dict[str, tuple[float, float]] = {}
        "by endpoint string: the first and the last second, since 1970"
        self._said: dict[str, str] = {}

    def note(self, description: str, endpoint: object) -> None:
        """Look at what an endpoint shows to its peers, if it shows anything."""
        certificate = certificate_of(endpoint)
        if certificate is not None:
            self._dates[description] = (
                certificate.not_valid_before_utc.timestamp(),
                certificate.not_valid_after_utc.timestamp(),
            )

    def end(self, description: str) -> float | None:
        """Return until when the certificate of an endpoint is valid, in seconds since 1970."""
        dates = self._dates.get(description)
        return dates[1] if dates is not None else None

    def problem(self, description: str, wall: float) -> str:
        """Return what peers with ``caFile`` object to at this time, in seconds since 1970."""
        dates = self._dates.get(description)
        if dates is None:
            return ""
        if wall > dates[1]:
            return f"its certificate has expired at {_text(dates[1])}"
        return f"its certificate is not valid before {_text(dates[0])}" if wall < dates[0] else ""

    def look(self, wall: float) -> None:
        """Say what has become of each, once."""
        for description, (_begin, end) in self._dates.items():
            problem = self.problem(description, wall)
            if problem and self._is_news(description, problem):
                self._log.error(
                    "{description}: {problem}; ETRs with caFile refuse it",
                    description=description,
                    problem=problem,
                )
            elif not problem and wall > end - SOON and self._is_news(description, "soon"):
                self._log.warn(
                    "{description}: its certificate expires at {end}",
                    description=description,
                    end=_text(end),
                )

    def _is_news(self, description: str, what: str) -> bool:
        is_known = self._said.get(description) == what
        self._said[description] = what
        return not is_known


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
