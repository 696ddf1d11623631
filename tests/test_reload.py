"""Sites and keys that change while sessions are up: what the draft says goes out then."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt import Etr, parse_config
from lispmsrt.config import ConfigError, load
from lispmsrt.services.reconfiguration import Reconfiguration, judge
from lispmsrt.session.base import CloseReason
from lispmsrt.tap import Node
from tests.builders import answers, eid
from tests.rim import (
    MAP_SERVER_HOST,
    XTR_ID,
    Listener,
    Network,
    etr_of,
    etr_text,
    map_server_of,
    map_server_text,
    mapping,
    outcome,
    site_text,
)

_EVERYTHING = ("refresh", 0, False, b"")
_REJECTED_ONLY = ("refresh", 0, True, b"")
_WIDE = ("10.1.0.0/16", "10.2.0.0/16")


class ReloadTests(SynchronousTestCase):
    """A Map-Server and an ETR with a session."""

    def setUp(self) -> None:
        """The ETR registers under both prefixes of its site."""
        self.network = Network()
        self.listener = Listener()
        self.server = map_server_of(self.network, map_server_text(site_text("campus", *_WIDE)))
        text = etr_text("10.1.1.0/24", "10.2.1.0/24")
        self.etr = etr_of(self.network, text, self.listener)
        for service in (self.server, self.etr):
            service.startService()
        self.network.run(1)
        self.assertEqual(len(self.server.sessions), 1)
        self.addCleanup(self._stop)

    def _stop(self) -> None:
        self.etr.stopService()
        self.server.stopService()
        self.network.run(10)
        self.assertEqual(self.network.getDelayedCalls(), [])
        self.assertEqual((self.network.ports, self.network.pipes), ([], []))

    def _reload(self, *sites: str) -> list[Any]:
        """Reload with these sites; return what the Map-Server said on the session then."""
        self.network.packets.clear()
        config = parse_config(map_server_text("\n".join(sites)))
        result = outcome(self.server.reload(config.site))
        self.network.run(0)
        self.assertEqual(result, [None])
        return self._said()

    def _said(self) -> list[Any]:
        return answers(
            b"".join(
                packet.data
                for packet in self.network.packets
                if packet.protocol == "tcp" and packet.source[0] == MAP_SERVER_HOST
            )
        )

    def _registered(self) -> list[str]:
        return sorted(str(r.decode().eid) for r in self.server.database.registrations())

    def _registrations_sent(self) -> int:
        return sum(
            packet.data.count(b"\x9f\xac\xad\xe9")
            for packet in self.network.packets
            if packet.protocol == "tcp" and packet.destination[0] == MAP_SERVER_HOST
        )

    def test_the_same_sites_ask_for_nothing_but_what_was_rejected(self) -> None:
        """No Registration follows."""
        said = self._reload(site_text("campus", *_WIDE))
        self.assertEqual(said, [_REJECTED_ONLY])
        self.assertEqual(self._registrations_sent(), 0)

    def test_a_prefix_added_brings_what_was_rejected(self) -> None:
        """A Refresh with R; only the rejected one comes again."""
        result = outcome(self.etr.register(mapping("10.3.1.0/24")))
        self.network.run()
        self.assertEqual(len(result), 1)
        said = self._reload(site_text("campus", *_WIDE, "10.3.0.0/16"))
        self.assertEqual(said, [_REJECTED_ONLY, ("ack", eid("10.3.1.0/24"))])
        self.assertEqual(self._registrations_sent(), 1)
        self.assertIn("10.3.1.0/24", self._registered())

    def test_a_site_added_leaves_other_sites_alone(self) -> None:
        """Its own ETRs arm themselves over UDP first."""
        said = self._reload(site_text("campus", *_WIDE), site_text("branch", "10.9.0.0/16"))
        self.assertEqual(said, [_REJECTED_ONLY])
        self.assertEqual(len(self._registered()), 2)

    def test_a_prefix_removed_is_rejected_and_asked_for_once_more(self) -> None:
        """A Rejection for what is under it, and a Refresh that covers it and nothing else."""
        said = self._reload(site_text("campus", "10.1.0.0/16"))
        rejection = ("reject", 1, eid("10.2.1.0/24"))
        self.assertIn(rejection, said)
        self.assertIn(("refresh", 3, False, eid("10.2.0.0/16")), said)
        self.assertNotIn("ack", [answer[0] for answer in said])
        self.assertEqual(self._registered(), ["10.1.1.0/24"])
        self.assertIn(
            ("rejected", f"{MAP_SERVER_HOST}:4342", "10.2.1.0/24", 1), self.listener.heard
        )

    def test_a_prefix_removed_and_added_again_comes_back(self) -> None:
        """The ETR remembers what was rejected."""
        self._reload(site_text("campus", "10.1.0.0/16"))
        self._reload(site_text("campus", *_WIDE))
        self.assertEqual(self._registered(), ["10.1.1.0/24", "10.2.1.0/24"])

    def test_a_site_removed_loses_everything(self) -> None:
        """Each registration gets its Rejection; then the session ends."""
        said = self._reload(site_text("other", "10.9.0.0/16"))
        rejections = {answer[2] for answer in said if answer[0] == "reject"}
        self.assertEqual(rejections, {eid("10.1.1.0/24"), eid("10.2.1.0/24")})
        self.assertEqual(self._registered(), [])
        self.assertEqual(self.server.sessions, [])

    def test_an_xtr_that_must_show_a_certificate_now_loses_its_session(self) -> None:
        """What it had registered over it ends in time, and it is on UDP again."""
        tie = f'[[site.xtr]]\nxtr-id = "{XTR_ID}"\ncertificates = ["etr1.example.net"]\n'
        (session,) = self.server.sessions
        self._reload(site_text("campus", *_WIDE) + tie)
        self.assertIs(session.close_reason, CloseReason.CERTIFICATE)
        self.network.run(5)
        self.assertEqual(self._registered(), ["10.1.1.0/24", "10.2.1.0/24"])

    def test_a_site_that_is_renamed_has_its_etrs_back(self) -> None:
        """They authenticate anew, and are another site's xTRs then."""
        self._reload(site_text("campus two", *_WIDE))
        self.network.run(120)
        self.assertEqual(self._registered(), ["10.1.1.0/24", "10.2.1.0/24"])
        (session,) = self.server.sessions
        assert session.lease is not None
        self.assertEqual(session.lease.xtr.site, "campus two")

    def test_two_reloads_in_a_row_tell_everybody(self) -> None:
        """The second begins before the first has judged everything."""
        config = parse_config(map_server_text(site_text("campus", *_WIDE)))
        narrow = parse_config(map_server_text(site_text("campus", "10.1.0.0/16")))
        first = self.server.reload(config.site)
        second = self.server.reload(narrow.site)
        self.network.run(5)
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(self._registered(), ["10.1.1.0/24"])
        self.assertIn(
            ("rejected", f"{MAP_SERVER_HOST}:4342", "10.2.1.0/24", 1), self.listener.heard
        )

    def test_a_prefix_that_went_to_another_site_is_rejected(self) -> None:
        """Though it is still configured."""
        self._reload(site_text("campus", "10.1.0.0/16"), site_text("branch", "10.2.0.0/16"))
        self.assertEqual(self._registered(), ["10.1.1.0/24"])

    def test_a_key_added_asks_for_everything(self) -> None:
        """And everything is confirmed with the old key, which is still good."""
        site = site_text("campus", *_WIDE, secrets=("campus secret", "next secret"))
        said = self._reload(site)
        self.assertEqual(said[0], _EVERYTHING)
        self.assertEqual([answer[0] for answer in said[1:]], ["ack", "ack"])
        self.network.run(400)
        self.assertEqual(len(self._registered()), 2)

    def test_a_key_removed_that_an_etr_still_uses_rejects_it(self) -> None:
        """Reason 2; what was registered with it is gone."""
        said = self._reload(site_text("campus", *_WIDE, secrets=("another secret",)))
        self.assertEqual(said[0], _EVERYTHING)
        self.assertEqual([answer[:2] for answer in said[1:]], [("reject", 2), ("reject", 2)])
        self.assertEqual(self._registered(), [])

    def test_what_is_not_confirmed_after_a_key_change_ends_in_three_minutes(self) -> None:
        """An ETR that does not answer the Refresh."""
        for pipe in self.network.pipes:
            pipe.is_reading = pipe.host.host != MAP_SERVER_HOST
        self._reload(site_text("campus", *_WIDE, secrets=("another secret",)))
        self.assertEqual(len(self._registered()), 2)
        self.network.run(182)
        self.assertEqual(self._registered(), [])

    def test_a_key_is_rotated_without_an_outage(self) -> None:
        """New beside old; the ETR with the new one; old removed: never unregistered."""
        both = ("campus secret", "next secret")
        self._reload(site_text("campus", *_WIDE, secrets=both))
        self.etr.stopService()
        self.network.run(1)
        text = etr_text("10.1.1.0/24", "10.2.1.0/24", secret="next secret")
        self.etr = etr_of(self.network, text, self.listener)
        self.etr.startService()
        self.network.run(5)
        self.assertEqual(len(self._registered()), 2)
        said = self._reload(site_text("campus", *_WIDE, secrets=("next secret",)))
        self.assertEqual([answer[0] for answer in said], ["refresh", "ack", "ack"])
        self.network.run(400)
        self.assertEqual(len(self._registered()), 2)

    def test_rlocs_restricted_reject_what_uses_others(self) -> None:
        """Reason 3; and they come back when the restriction is lifted."""
        said = self._reload(site_text("campus", *_WIDE, rlocs='"192.0.2.0/24"'))
        self.assertEqual(said[0], _REJECTED_ONLY)
        reasons = {answer[:2] for answer in said if answer[0] == "reject"}
        self.assertEqual(reasons, {("reject", 3)})
        self.assertEqual(self._registered(), [])
        self._reload(site_text("campus", *_WIDE))
        self.assertEqual(len(self._registered()), 2)

    def test_a_connection_that_is_not_bound_yet_hears_only_of_what_was_rejected(self) -> None:
        """Its own Refresh of everything is on the way."""
        self.server.reset(self.server.sessions[0])
        self.network.run(7)
        self.network.packets.clear()
        change = Reconfiguration(frozenset(), {"campus": []})
        session = self.server.sessions[0]
        session.lease, lease = None, session.lease
        change.tell(session, self.network.seconds())
        session.lease = lease
        self.network.run(0)
        self.assertEqual(self._said()[-1], _REJECTED_ONLY)

    def test_a_closed_session_is_told_nothing(self) -> None:
        """It may close between two batches."""
        session = self.server.sessions[0]
        config = parse_config(map_server_text(site_text("other", "10.9.0.0/16")))
        self.server.reload(config.site)
        self.server.reset(session)
        session.close_reason = None
        self.network.run(1)
        self.assertEqual(session.counters["withdrawals out"], 2)

    def test_registrations_over_udp_are_judged_too(self) -> None:
        """Nobody can be told; they are gone."""
        self.server.reset(self.server.sessions[0])
        self.network.run(0)
        self.assertEqual(len(self._registered()), 2)
        self._reload(site_text("campus", "10.1.0.0/16"))
        self.assertEqual(self._registered(), ["10.1.1.0/24"])

    def test_a_big_database_is_judged_in_batches(self) -> None:
        """Of a thousand: the reactor has its turns between them."""
        for number in range(3000):
            self.etr.register(mapping(f"10.1.{number >> 8}.{number & 255}/32")).addErrback(
                lambda failure: None
            )
        self.network.run(5)
        self.assertEqual(len(self.server.database), 3002)
        config = parse_config(map_server_text(site_text("campus", "10.2.0.0/16")))
        self.assertEqual(sum(1 for _ in judge(self.server.registrar, lambda xtr: None)), 4)
        outcome(self.server.reload(config.site))
        self.network.run(0)
        self.assertEqual(self._registered(), ["10.2.1.0/24"])
        self.network.run(5)
        rejected = {event[2] for event in self.listener.heard if event[0] == "rejected"}
        self.assertEqual(len(rejected), 3001)


class _Reactor(Network):
    """A network that a Node can be given."""

    def callFromThread(self, call: Any, *args: Any) -> None:
        self.callLater(0, call, *args)


class NodeReloadTests(SynchronousTestCase):
    """The file is read again."""

    def setUp(self) -> None:
        """Both roles from one file, on wall-clock time as twistd has it."""
        self.network = _Reactor()
        self.file = Path(self.mktemp())
        self.etr_part = etr_text("10.1.1.0/24", "10.2.1.0/24")
        self._write(site_text("campus", *_WIDE))
        self.node = Node(str(self.file), load(self.file), self.network)
        self.node.startService()
        self.addCleanup(self._stop)
        self.network.run(1)
        assert self.node.map_server is not None
        self.database = self.node.map_server.database
        self.assertEqual(len(self.database), 2)

    def _stop(self) -> None:
        self.node.stopService()
        self.network.run(10)
        self.assertEqual(self.network.getDelayedCalls(), [])

    def _write(self, sites: str, options: str = "") -> None:
        self.file.write_text(map_server_text(sites, options=options) + self.etr_part)

    def _signal(self) -> list[str]:
        """Send SIGHUP to ourselves; return what was logged about it."""
        with capturedLogs() as events:
            os.kill(os.getpid(), signal.SIGHUP)
            self.network.run(1)
        return [formatEvent(e) for e in events if e["log_namespace"] == "lispmsrt.tap.Node"]

    def test_sighup_reads_the_file_again(self) -> None:
        """One line says so."""
        self._write(site_text("campus", "10.1.0.0/16"))
        self.assertEqual(self._signal(), [f"configuration reloaded from {self.file}"])
        self.assertEqual(len(self.database), 1)

    def test_a_wrong_file_leaves_everything_as_it_is(self) -> None:
        """One line has every mistake."""
        for text in ("[map-server", "[map-server]\ncolour = 1\nsize = 2\n"):
            self.file.write_text(text)
            (line,) = self._signal()
            self.assertIn("not reloaded, nothing has changed", line)
            self.assertEqual(len(line.splitlines()), 1)
            self.assertEqual(len(self.database), 2)
        self.assertIn("colour", line)
        self.assertIn("size", line)

    def test_a_file_that_is_gone_leaves_everything_as_it_is(self) -> None:
        """Likewise."""
        self.file.unlink()
        (line,) = self._signal()
        self.assertIn("can't be read", line)
        self.assertEqual(len(self.database), 2)

    def test_reload_tells_the_caller_of_mistakes(self) -> None:
        """By ConfigError."""
        self.file.write_text("")
        self.assertRaises(ConfigError, self.node.reload)

    def test_what_needs_a_restart_is_said(self) -> None:
        """Sites are reloaded all the same."""
        self._write(site_text("campus", "10.1.0.0/16"), "probation = 5.0")
        lines = self._signal()
        self.assertIn("changed in [map-server] needs a restart", lines[0])
        self._write(site_text("campus", "10.1.0.0/16"))
        self.assertEqual(len(self._signal()), 1, "it was taken back")
        self.assertEqual(len(self.database), 1)

    def test_a_role_that_is_gone_from_the_file_goes_on_until_the_restart(self) -> None:
        """With the sites that it has."""
        self.file.write_text(self.etr_part)
        (line,) = self._signal()
        self.assertIn("nothing has changed: [map-server] is gone from it", line)
        self.assertIn("needs a restart", line)
        self.assertEqual(len(self.database), 2)

    def test_a_failure_while_reloading_is_logged(self) -> None:
        """It is a bug, and shown as one."""
        assert self.node.map_server is not None
        failed: Deferred[None] = Deferred()
        self.patch(self.node.map_server, "reload", lambda sites: failed)
        self._signal()
        failed.errback(Failure(RuntimeError("a bug")))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_an_etr_alone_has_nothing_to_reload(self) -> None:
        """The signal does no harm."""
        self.node.stopService()
        self.network.run(10)
        self.file.write_text(self.etr_part)
        self.node = Node(str(self.file), load(self.file), self.network)
        self.node.startService()
        self.assertIsInstance(self.node.etr, Etr)
        (line,) = self._signal()
        self.assertIn("read it at their start only", line)

    def test_the_signal_is_given_back_when_the_node_stops(self) -> None:
        """Whoever had it before has it again."""
        ours = signal.getsignal(signal.SIGHUP)
        self.node.stopService()
        self.assertNotEqual(signal.getsignal(signal.SIGHUP), ours)
        self.network.run(1)
        self.node.startService()
