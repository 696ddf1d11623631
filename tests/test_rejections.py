"""Why something was refused: the rule in words, the latest, and how many of each kind."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping import rejections
from lispmsrt.mapping.merging import MAX_PARTS
from lispmsrt.mapping.policy import MAX_RECORD
from lispmsrt.mapping.refusals import Refusal
from lispmsrt.mapping.rejections import ANNOUNCED_EVERY, MAX_REJECTIONS, Rejection, Rejections
from lispmsrt.mapping.sites import SitePrefix, Sites
from lispmsrt.mapping.verdicts import Verdict
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.record_walk import RecordSpan
from tests.builders import (
    MERGE,
    OTHER_KEY,
    Etr,
    M,
    MapServer,
    Peer,
    Secret,
    eid,
    lcaf,
    locator,
    record,
    site,
)

_NO_SITE = Verdict.NOT_A_VALID_SITE_EID_PREFIX
_BAD_KEY = Verdict.AUTHENTICATION_FAILURE
_BAD_LOCATORS = Verdict.LOCATOR_SET_NOT_ALLOWED
_SPAN: RecordSpan = (0, 1440, 0, 1, 8, 1 << 8 | 10, 0, 0)
_EID = "10.1.0.0/16"


def _sites() -> Sites:
    """Two sites; campus has one EID-prefix without more-specifics, and one in instance 9."""
    campus = site("campus", allowed=("192.0.2.0/24",))
    branch = site("branch", OTHER_KEY)
    return Sites(
        [
            SitePrefix.of(campus, EidPrefix.from_text(_EID)),
            SitePrefix.of(campus, EidPrefix.from_text("10.3.0.0/16", 9), True),
            SitePrefix.of(branch, EidPrefix.from_text("10.2.0.0/16"), True),
        ]
    )


class _Ground(SynchronousTestCase):
    def setUp(self) -> None:
        """A Map-Server, and an ETR with a key of campus."""
        self.server = MapServer(_sites(), max_registrations=2)
        self.rejections = self.server.registrar.rejections
        self.etr = Etr()

    def connect(self, etr: Etr) -> Peer:
        """Arm an ETR over UDP, and connect it."""
        self.assertTrue(self.server.hear(etr, etr.map_register(record(_EID))))
        peer = self.server.connect("192.0.2.1", 0.0)
        peer.pull()
        return peer

    def newest(self) -> Rejection:
        """Return the one that was noted last."""
        return next(self.rejections.newest_first())

    def assert_rule(self, rule: str, verdict: Verdict, site_name: str = "campus") -> None:
        """What was noted last was refused so."""
        found = self.newest()
        self.assertEqual((found.rule, found.verdict, found.site), (rule, verdict, site_name))

    def udp(self, *records: bytes, flags: int = M, etr: Etr | None = None) -> None:
        """Send a Map-Register."""
        etr = etr or self.etr
        self.server.hear(etr, etr.map_register(*records, flags=flags))


class RuleTests(_Ground):
    """The exact rule, in one sentence."""

    def test_no_site_covers_it(self) -> None:
        """In the instance it was meant for, whatever other instances have."""
        self.udp(record("10.3.1.0/24", instance_id=7))
        self.assert_rule("no site has an EID-prefix that covers it in instance 7", _NO_SITE, "")
        found = self.newest()
        self.assertEqual((found.instance_id, found.eid), (7, "10.3.1.0/24"))

    def test_a_site_covers_it_without_more_specifics(self) -> None:
        """The configured EID-prefix is named."""
        self.udp(record("10.1.2.0/24"))
        self.assert_rule("site campus has 10.1.0.0/16, but without accept-more-specifics", _NO_SITE)

    def test_an_eid_that_nobody_can_register(self) -> None:
        """What kind of LCAF it was is not kept."""
        self.udp(record(bytes([0]) + lcaf(6, bytes(4))))
        self.assert_rule("the EID is of a kind that can't be registered", Verdict.OTHER, "")
        self.assertEqual(self.newest().eid, "")
        self.udp(record(_EID), record(bytes([0]) + lcaf(6, bytes(4))))
        self.assert_rule("the EID is of a kind that can't be registered", _NO_SITE, "")

    def test_the_eid_prefix_of_another_site(self) -> None:
        """In one message with an own one, over UDP."""
        self.udp(record(_EID), record("10.2.1.0/24"))
        self.assert_rule(
            "EID-prefix belongs to site branch, and the message is authentic for campus", _NO_SITE
        )
        self.assertEqual(self.newest().eid, "10.2.1.0/24")

    def test_no_such_key(self) -> None:
        """Key ID and algorithm as the message had them, one that is unknown included."""
        etr = Etr(key=Secret(2, 2))
        self.udp(record(_EID), etr=etr)
        self.assert_rule("no key with ID 2 and hmac-sha-256-128 in site campus", _BAD_KEY)
        message = bytearray(self.etr.map_register(record(_EID)))
        message[13] = 77
        self.server.hear(self.etr, bytes(message))
        self.assert_rule("no key with ID 1 and algorithm 77 in site campus", _BAD_KEY)

    def test_wrong_authentication_data(self) -> None:
        """The key is there; of the secrets nothing is said."""
        self.udp(record(_EID), etr=Etr(key=OTHER_KEY))
        self.assert_rule("the authentication data is wrong for key ID 1 of site campus", _BAD_KEY)

    def test_an_rloc_that_is_not_allowed(self) -> None:
        """The first one, by name."""
        self.udp(record(_EID, locator(), locator("203.0.113.9"), locator("203.0.113.10")))
        self.assert_rule("RLOC 203.0.113.9 is not in allowed-rlocs of site campus", _BAD_LOCATORS)

    def test_an_rloc_that_can_not_be_looked_into_has_no_name(self) -> None:
        """Nor has one behind so many others that it is not kept."""
        strange = locator(lcaf(6, bytes(4)))
        self.udp(record(_EID, locator(), strange))
        self.assert_rule("an RLOC is not in allowed-rlocs of site campus", _BAD_LOCATORS)
        self.udp(record(_EID, *[locator()] * 60, locator("203.0.113.9")))
        self.assert_rule("an RLOC is not in allowed-rlocs of site campus", _BAD_LOCATORS)

    def test_a_record_that_is_too_large(self) -> None:
        """How large, and how large it may be."""
        one = record(_EID, *[locator(lcaf(1, bytes(30)))] * 255)
        self.assertGreater(len(one), MAX_RECORD)
        self.udp(one)
        self.assert_rule(
            f"the record is too large: {len(one)} octets, and {MAX_RECORD} are allowed",
            Verdict.OTHER,
        )

    def test_a_full_database(self) -> None:
        """With the limit, as configured."""
        for host in range(3):
            self.udp(record(f"10.3.{host}.0/24", instance_id=9))
        self.assert_rule("database full (max-registrations = 2)", Verdict.OTHER)

    def test_what_can_not_be_merged(self) -> None:
        """The limit of merging that stands against it."""
        server = MapServer(Sites([SitePrefix.of(site(), EidPrefix.from_text(_EID))]))
        for number in range(1, MAX_PARTS + 2):
            etr = Etr(f"192.0.2.{number}", xtr_id=number)
            server.hear(etr, etr.map_register(record(_EID), flags=M | MERGE))
        (found,) = server.registrar.rejections.newest_first()
        self.assertEqual((found.rule, found.verdict), ("too many to merge", Verdict.OTHER))
        self.assertEqual(found.ids, Etr(xtr_id=MAX_PARTS + 1).ids)

    def test_nobody_without_xtr_id_takes_what_a_session_holds(self) -> None:
        """Its message could be another's."""
        peer = self.connect(self.etr)
        peer.send(self.etr.registration(record(_EID)))
        self.udp(record(_EID), etr=Etr("192.0.2.9", xtr_id=None))
        self.assert_rule("no xTR-ID against a live session", Verdict.OTHER)
        self.assertEqual(self.newest().source, "192.0.2.9:4342")


class SessionTests(_Ground):
    """On a session, before and after it is bound."""

    def test_the_first_registration_of_a_session(self) -> None:
        """By which transport, from where, with which xTR-ID."""
        peer = self.connect(self.etr)
        peer.send(self.etr.registration(record(_EID), key=OTHER_KEY))
        self.assert_rule("the authentication data is wrong for key ID 1 of site campus", _BAD_KEY)
        found = self.newest()
        session = peer.session
        self.assertEqual(
            (found.protocol, found.source, found.ids),
            (session.transport, session.peer, self.etr.ids),
        )

    def test_an_xtr_that_is_not_armed(self) -> None:
        """On a connection that another one was armed for."""
        peer = self.connect(self.etr)
        peer.send(Etr(xtr_id=77).registration(record(_EID)))
        self.assert_rule(
            "no Map-Register has armed the xTR for a session from this address", Verdict.OTHER
        )

    def test_a_later_registration_of_another_xtr(self) -> None:
        """Both are named: the one that the session is bound to, and the one of the message."""
        peer = self.connect(self.etr)
        peer.send(self.etr.registration(record(_EID)))
        peer.send(Etr(xtr_id=2).registration(record(_EID)))
        one, two = f"{1:032x}", f"{2:032x}"
        self.assert_rule(
            f"the session is that of campus xTR-ID {one},"
            f" and the message is of campus xTR-ID {two}",
            Verdict.OTHER,
        )
        self.assertEqual(self.newest().ids[15], 2)

    def test_later_ones_are_noted_like_those_over_udp(self) -> None:
        """RLOC, prefix, key."""
        peer = self.connect(self.etr)
        peer.send(self.etr.registration(record(_EID)))
        for one, rule in (
            (record(_EID, locator("203.0.113.9")), "RLOC 203.0.113.9 is not"),
            (record("10.1.1.0/24"), "site campus has 10.1.0.0/16"),
            (record("10.2.1.0/24"), "the authentication data is wrong"),
        ):
            before = self.rejections.count
            peer.send(self.etr.registration(one))
            self.assertTrue(self.newest().rule.startswith(rule), self.newest().rule)
            self.assertEqual(self.rejections.count, before + 1)


class CertificateTests(SynchronousTestCase):
    """A session without what its site demands."""

    def test_it_is_a_rejection(self) -> None:
        """Of authentication."""
        etr = Etr()
        configured = site(certificates={etr.ids[:16]: frozenset({"etr.example.net"})})
        server = MapServer(Sites([SitePrefix.of(configured, EidPrefix.from_text(_EID))]))
        server.hear(etr, etr.map_register(record(_EID)))
        server.connect("192.0.2.1", 0.0).send(etr.registration(record(_EID)))
        (found,) = server.registrar.rejections.newest_first()
        self.assertEqual(
            (found.rule, found.verdict),
            ("the certificate is not one that the site demands of the xTR", _BAD_KEY),
        )


class _Noted(SynchronousTestCase):
    def setUp(self) -> None:
        """Nothing noted; what is announced is kept."""
        self.said: list[tuple[str, int]] = []
        self.rejections = Rejections(lambda one, unsaid: self.said.append((one.rule, unsaid)))

    def note(
        self,
        rule: str = "no",
        site_name: str = "campus",
        now: float = 0.0,
        exact: Callable[[], str] = lambda: "no",
    ) -> None:
        """Note a refusal by this rule."""
        refusal = Refusal(Verdict.OTHER, rule, site_name, exact)
        self.rejections.note(refusal, _SPAN, b"", "UDP", (bytes(15) + b"\1", 4342), now)


class RingTests(_Noted):
    """What is kept is bounded."""

    def test_the_latest_are_kept_newest_first(self) -> None:
        """Numbers go on, whatever is lost."""
        for number in range(MAX_REJECTIONS + 5):
            self.note(now=float(number))
        found = list(self.rejections.newest_first())
        self.assertEqual(len(found), MAX_REJECTIONS)
        self.assertEqual((found[0].number, found[-1].number), (MAX_REJECTIONS + 5, 6))
        self.assertEqual((found[0].at, found[0].source), (MAX_REJECTIONS + 4, "[::1]:4342"))
        self.assertEqual(self.rejections.count, MAX_REJECTIONS + 5)

    def test_no_sentence_is_made_before_somebody_reads(self) -> None:
        """A flood costs next to nothing; but for one announcement a minute."""
        made: list[int] = []

        def sentence() -> str:
            made.append(1)
            return "made"

        for _ in range(100):
            self.note(exact=sentence)
        self.assertEqual(len(made), 1)
        self.assertEqual(next(self.rejections.newest_first()).rule, "made")
        self.assertEqual(len(made), 2)

    def test_the_rule_and_the_site_make_a_group(self) -> None:
        """With its last rejection, in the order of the first."""
        for rule, site_name in (("a", "x"), ("a", "y"), ("b", "x"), ("a", "x")):
            self.note(rule, site_name)
        found = [
            (one.rule, one.site, one.count, one.last.number) for one in self.rejections.groups()
        ]
        self.assertEqual(found, [("a", "x", 2, 4), ("b", "x", 1, 3), ("a", "y", 1, 2)])
        self.assertEqual(self.rejections.per_site, {"x": 3, "y": 1})

    def test_groups_are_bounded_and_what_has_none_is_counted(self) -> None:
        """The ones that are there go on."""
        self.patch(rejections, "MAX_GROUPS", 2)
        for rule in ("a", "b", "c", "a"):
            self.note(rule)
        self.assertEqual(
            [(one.rule, one.count) for one in self.rejections.groups()], [("a", 2), ("b", 1)]
        )
        self.assertEqual(sum(self.rejections.counters.values()), 1)
        self.assertEqual(len(list(self.rejections.newest_first())), 4)

    def test_no_peer_can_choose_what_makes_a_group(self) -> None:
        """Instance ID, EID, RLOC, key ID and algorithm: each other one is of the same group."""
        server, etr = MapServer(_sites()), Etr()
        for number in range(8):
            for one in (
                record(f"172.16.{number}.0/24", instance_id=number),
                record(f"10.1.{number}.0/24"),
                record(_EID, locator(f"203.0.113.{number}")),
            ):
                server.hear(etr, etr.map_register(one))
            server.hear(etr, etr.map_register(record(_EID), key=Secret(100 + number)))
        groups = server.registrar.rejections.groups()
        self.assertEqual([one.count for one in groups], [8, 8, 8, 8])


class AnnouncementTests(_Noted):
    """What an operator hears of."""

    def test_a_group_is_announced_once_a_minute(self) -> None:
        """With how many there were since."""
        for now in (0.0, 1.0, 2.0, ANNOUNCED_EVERY, ANNOUNCED_EVERY + 1):
            self.note(now=now)
        self.assertEqual(self.said, [("no", 0), ("no", 2)])

    def test_each_group_is_announced(self) -> None:
        """Rules and sites do not hide each other."""
        self.note("a")
        self.note("a", "other")
        self.note("b")
        self.assertEqual(len(self.said), 3)


class WireTests(_Ground):
    """Over the wire, what is noted is what was answered."""

    def test_a_rejection_on_a_session_is_noted_with_its_reason(self) -> None:
        """The same numbers."""
        peer = self.connect(self.etr)
        found = peer.send(self.etr.registration(record("172.16.0.0/16")))
        self.assertEqual(found, [("reject", int(self.newest().verdict), eid("172.16.0.0/16"))])
