"""Map-Notifies that an ETR has not asked for: what the Map-Server says of its mappings by itself
(RFC 9301 §5.7).

Each is acknowledged and told to the application, once. Where it says that another xTR has taken an
EID-prefix over, the ETR gives way (docs/draft.rst, "ETR state table"). Authentication was checked
before. Times are monotonic seconds.
"""

from __future__ import annotations

import enum
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection

from lispmsrt.mapping.credentials import Credentials
from lispmsrt.mapping.etr_registrations import EtrRegistration, EtrRegistrations
from lispmsrt.wire.authentication import Coverage
from lispmsrt.wire.map_register import MapRegisterSpan, RegisterFlag, write_map_notify_ack
from lispmsrt.wire.reader import Reader
from lispmsrt.wire.records import MappingRecord, decode_record
from lispmsrt.wire.reliable_transport import MappingNotification, eid_wire_form

__all__ = ["Novelty", "NoveltyCheck", "Unsolicited"]

REMEMBERED = 4096
"""Map-Notifies remembered, so that a repeated one is not told again."""

INCREASES = 16
"""Increases in a row after which a Map-Server is held to counting its nonces up."""

LONGEST_RETRANSMISSION = 100.0
"""Seconds after which a Map-Notify with a lower nonce is no retransmission: RFC 9301's schedule
ends after 51.
"""

_XTR_ID = slice(0, 16)
_SITE_ID = slice(16, 24)
_NO_IDS = bytes(24)


class Novelty(enum.Enum):
    """What a Map-Notify is to somebody who remembers others."""

    NEW = enum.auto()
    REPEATED = enum.auto()
    OLD = enum.auto()
    "its nonce was overtaken long ago: somebody has kept it"


class NoveltyCheck:
    """Tell new Map-Notifies of one Map-Server and key from repeated and replayed ones.

    Some Map-Servers count their nonces up, others draw them at random: who has shown that it counts
    is held to it, but for what loss has held up.
    """

    def __init__(self) -> None:
        # OrderedDict: a plain dict walks over all it has lost to find its first.
        self._seen: OrderedDict[int, None] = OrderedDict()
        self._highest = -1
        self._increases = 0
        self._counts_up = False
        self._marked_at = float("-inf")
        self._mark = -1
        "the highest nonce at that time"
        self._floor = -1
        "the highest of long ago"

    def check(self, message: bytes, nonce: int, now: float) -> Novelty:
        """Judge a Map-Notify; it is remembered from now on."""
        # The nonce alone is not enough: there are Map-Servers that always send the same.
        identity = hash(message)
        if identity in self._seen:
            return Novelty.REPEATED
        if now - self._marked_at >= LONGEST_RETRANSMISSION:
            self._floor, self._mark, self._marked_at = self._mark, self._highest, now
        if self._counts_up and nonce <= self._floor:
            return Novelty.OLD
        self._seen[identity] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        if nonce > self._highest:
            # The first nonce is no increase.
            self._increases += self._highest >= 0
            self._highest = nonce
        else:
            self._increases = 0
        self._counts_up = self._counts_up or self._increases >= INCREASES
        return Novelty.NEW


class Unsolicited:
    """Take what one Map-Server says unasked."""

    def __init__(
        self,
        registrations: EtrRegistrations,
        credentials: Credentials,
        *,
        counters: Counter[str],
        on_mapping_notified: Callable[[MappingNotification], None],
        is_being_registered: Callable[[EtrRegistration], bool],
        yields: bool,
    ) -> None:
        """``is_being_registered`` says whether an entry is about to be registered, or a
        Map-Register of it waits for its Map-Notify.

        ``yields`` is whether an EID-prefix that another xTR has taken over is left to it.
        """
        self.counters = counters
        self._registrations = registrations
        self._credentials = credentials
        self._on_mapping_notified = on_mapping_notified
        self._is_being_registered = is_being_registered
        self._yields = yields
        self._merged: dict[bytes, MappingRecord] = {}
        "EID-prefixes of ours to what they were merged to when that was told"
        self._mirrors_ids = False
        "whether the Map-Server has put our IDs under the MAC of its last answer"
        self._novelty = NoveltyCheck()
        self._fingerprint = credentials.key.fingerprint

    def take(
        self, data: bytes, notify: MapRegisterSpan, coverage: Coverage, now: float
    ) -> bytes | None:
        """Take an authentic Map-Notify; return its Map-Notify-Ack, or None where it gets none.

        Raises WireError when a record can't be read.
        """
        _word, nonce, *_, length, spans, records_end = notify
        ids = data[records_end:]
        if not self._is_for_us(ids):
            self.counters["Map-Notifies for another xTR"] += 1
            return None
        records = [data[span[0] : span[7]] for span in spans]
        told = [decode_record(Reader(record)) for record in records]
        novelty = self._check(data, nonce, now)
        if novelty is Novelty.OLD:
            self.counters["Map-Notifies replayed"] += 1
            return None
        if novelty is Novelty.REPEATED:
            # Its Map-Notify-Ack was lost, and is not retransmitted by itself (RFC 9301 §5.7).
            self.counters["Map-Notifies repeated"] += 1
        else:
            is_surely_ours = self._is_surely_for_us(ids, coverage)
            for record in told:
                if is_surely_ours:
                    self._heed(record, on_session=False)
                self._tell(record)
        self.counters["Map-Notify-Acks out"] += 1
        return write_map_notify_ack(
            nonce=nonce,
            records=records,
            ids=ids,
            key=self._credentials.key,
            length=length,
            coverage=coverage,
        )

    def answered(self, eid: bytes, record: bytes, sent: Collection[bytes]) -> None:
        """Tell of the merged RLOC-set that a Map-Notify shows whose Map-Register had the a bit (RFC
        9301 §5.7), once until it changes. No message says so otherwise to who came last.
        """
        value = decode_record(Reader(record))
        if record in sent:
            is_news = self._merged.pop(eid, None) is not None
        else:
            entry = self._registrations.find(eid)
            is_news = self._may_be_merged(entry) and self._merged.get(eid) != value
        if is_news:
            self._tell(value)

    def _note_merged(self, record: MappingRecord) -> None:
        """What is told of an EID-prefix here is no news in the answer to its next Map-Register."""
        entry = self._registrations.find(eid_wire_form(record.eid))
        if entry is None:
            return
        if not self._may_be_merged(entry) or record == decode_record(Reader(entry.record)):
            self._merged.pop(entry.eid, None)
        else:
            self._merged[entry.eid] = record

    def _may_be_merged(self, entry: EtrRegistration | None) -> bool:
        return entry is not None and bool(self._credentials.flags & RegisterFlag.MERGE)

    def _is_for_us(self, ids: bytes) -> bool:
        """xTRs of a site may share a key: what one of them was told means nothing to another."""
        return not any(ids) or ids[_XTR_ID] == self._credentials.ids[_XTR_ID]

    def _is_surely_for_us(self, ids: bytes, coverage: Coverage) -> bool:
        """Whether it can't be the answer, caught and sent again, to another xTR of the site that
        had our EID-prefix once.
        """
        if not self._mirrors_ids or (any(ids) and coverage is Coverage.WHOLE_MESSAGE):
            return True
        self.counters["Map-Notifies without our IDs"] += 1
        return False

    def identified(self, ids: bytes, coverage: Coverage) -> None:
        """Note whether an answer of the Map-Server has our IDs: what it says unasked must, then."""
        is_ours = any(ids) and ids[_XTR_ID] == self._credentials.ids[_XTR_ID]
        self._mirrors_ids = is_ours and coverage is Coverage.WHOLE_MESSAGE

    def _check(self, data: bytes, nonce: int, now: float) -> Novelty:
        fingerprint = self._credentials.key.fingerprint
        if fingerprint != self._fingerprint:
            self._fingerprint = fingerprint
            self._novelty = NoveltyCheck()
        return self._novelty.check(data, nonce, now)

    def told_on_session(self, record: MappingRecord) -> None:
        """A Mapping Notification has told the application what a record of the Map-Server says."""
        self._note_merged(record)
        self._heed(record, on_session=True)

    def _heed(self, record: MappingRecord, *, on_session: bool) -> None:
        """Leave an EID-prefix to the xTR that has taken it over, or take it back from one that is
        gone, where that is what a record of the Map-Server says.
        """
        entry = self._registrations.find(eid_wire_form(record.eid))
        if entry is None:
            return
        if _has_roamed(entry, record):
            self._give_way(entry, on_session=on_session)
        elif not record.ttl and (on_session or not self._registrations.session_is_up):
            self._registrations.vacated(entry.eid)

    def _give_way(self, entry: EtrRegistration, *, on_session: bool) -> None:
        self.counters["EID-prefixes taken over by others"] += 1
        # What comes over UDP may be old: a session that is up says the same in order with
        # everything else, and what is being registered anew right now may well be newer.
        is_newest = on_session or not (
            self._registrations.session_is_up or self._is_being_registered(entry)
        )
        if self._yields and is_newest:
            self._registrations.roamed(entry.eid)

    def _tell(self, record: MappingRecord) -> None:
        self._note_merged(record)
        # The IDs in a Map-Notify are the receiver's: whose registration it was is not said.
        self._on_mapping_notified(MappingNotification(_NO_IDS[_XTR_ID], _NO_IDS[_SITE_ID], record))


def _has_roamed(entry: EtrRegistration, record: MappingRecord) -> bool:
    """Whether a record is another xTR's alone: none of the RLOCs that were registered is in it.

    With RLOCs in common it was merged, or an xTR of the same site registered for all of them.
    """
    own = {locator.rloc for locator in decode_record(Reader(entry.record)).locators}
    others = {locator.rloc for locator in record.locators}
    return bool(record.ttl) and own != others and not own & others
