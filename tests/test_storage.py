"""A Map-Server's memory over restarts, on a network in memory."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher

from lispmsrt import Etr, MapServer, parse_config
from lispmsrt.mapping.database import Xtr
from lispmsrt.mapping.restored import RestoredLease
from lispmsrt.mapping.verdicts import End, Verdict
from lispmsrt.storage import memory as memory_module
from lispmsrt.storage.file import MAX_SET_ASIDE
from lispmsrt.storage.memory import Memory
from lispmsrt.storage.seconds import Moment
from lispmsrt.views.map_server import MapServerViews
from lispmsrt.wire.addresses import Address
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.record_walk import walk_records
from lispmsrt.wire.records import Locator, MappingRecord, encode_record
from tests.rim import mapping, outcome
from tests.service_ground import (
    ETR_ONE,
    ETR_TWO,
    Ground,
    eid_of,
    negative,
    rlocs,
    server_text,
    site,
)

__all__ = ["StorageGround"]


class StorageGround(Ground):
    """Map-Servers that keep their state in one file, and can be killed."""

    def setUp(self) -> None:
        """An empty place."""
        super().setUp()
        self.path = Path(self.mktemp()).absolute() / "map-server.state"
        self.boot = "one"
        self.stepped = 0.0
        "seconds by which the wall clock is wrong"

    def remembering(self, *sites: str, options: str = "") -> MapServer:
        """Start a Map-Server whose state is in the file."""
        options = f'state = "{self.path}"\n{options}'
        config = parse_config(server_text(*sites, options=options))
        assert config.map_server is not None
        server = MapServer(
            config.map_server, config.site, self.network, self.network, random=Random(3)
        )
        self.memory_of(server)._moment = self._moment
        self.start(server)
        return server

    def _moment(self) -> Moment:
        now = self.network.seconds()
        return Moment(1.8e9 + now + self.stepped, 1000.0 + now, self.boot)

    @staticmethod
    def memory_of(server: MapServer) -> Memory:
        """Return the memory of a Map-Server that has one."""
        memory = server.mapping.memory
        assert memory is not None
        return memory

    def kill(self, server: MapServer) -> None:
        """End a Map-Server as kill -9 does: nothing is written, and no session is closed."""
        memory = self.memory_of(server)
        saving = memory._saving
        assert saving is not None
        saving.file.close()
        memory._alarm.set(None)
        memory._saving = memory._loading = None
        self.cut(server)
        server.stopService()
        self.network.run(0.01)
        self.services.remove(server)

    def restored(self, server: MapServer) -> int:
        """Return how many registrations nobody has confirmed."""
        return sum(
            len(lease.held) for lease in server.registrar.leases if isinstance(lease, RestoredLease)
        )


class RestartTests(StorageGround):
    """What is known after a kill -9."""

    def test_map_requests_are_answered_from_before(self) -> None:
        """With no ETR there: everything that was acknowledged a second before."""
        server = self.remembering()
        etr = self.etr()
        self.network.run(10)
        self.register(etr, "10.1.1.0/24", "10.1.2.0/24")
        self.network.run(1.0)
        self.kill(server)
        etr.stopService()
        self.network.run(20)
        self.services.remove(etr)
        segments = self._segments()
        server = self.remembering()
        self.assertEqual(rlocs(self.ask("10.1.1.1")), [ETR_ONE])
        self.assertEqual(rlocs(self.ask("10.1.2.1")), [ETR_ONE])
        self.assertEqual(self.restored(server), 2)
        self.assertEqual(self.memory_of(server).counters["restored"], 2)
        self.network.run(5)
        # What comes from the file is not written into it again.
        self.assertEqual(self._segments(), segments)

    def _segments(self) -> int:
        with closing(sqlite3.connect(self.path)) as file:
            (count,) = file.execute("SELECT count(*) FROM segment").fetchone()
        assert isinstance(count, int)
        return count

    def test_what_nobody_confirms_expires(self) -> None:
        """180 s after the restart, as for a lost session."""
        server = self.remembering()
        etr = self.etr()
        self.network.run(10)
        self.register(etr, "10.1.1.0/24")
        self.network.run(1.0)
        self.kill(server)
        etr.stopService()
        self.network.run(100)
        self.services.remove(etr)
        server = self.remembering()
        self.network.run(178)
        self.assertEqual(rlocs(self.ask("10.1.1.1")), [ETR_ONE])
        self.network.run(4)
        self.assertEqual(negative(self.ask("10.1.1.1"))[1], 1)
        self.assertEqual(server.registrar.counters["expired"], 1)

    def test_a_returning_etr_confirms(self) -> None:
        """That is no change; and then nothing expires."""
        server = self.remembering()
        etr = self.etr()
        self.network.run(10)
        self.register(etr, "10.1.1.0/24", "10.1.2.0/24")
        self.network.run(1.0)
        self.kill(server)
        server = self.remembering()
        self.network.run(2)
        number = server.mapping.history.number
        self.network.run(120)
        self.assertEqual(len(server.sessions), 1)
        self.assertEqual(self.restored(server), 0)
        self.assertEqual(server.registrar.count, 2)
        self.assertEqual(server.mapping.history.number, number)
        self.network.run(200)
        self.assertEqual(server.registrar.count, 2)

    def test_an_etr_without_a_session_confirms(self) -> None:
        """With its next Map-Registers, as new for the Map-Server as itself or not."""
        server = self.remembering()
        options = {"server_options": 'session = "off"'}
        etr = self.etr(**options)
        self._register_all(etr)
        self.kill(server)
        server = self.remembering()
        self.network.run(0.1)
        self.assertEqual(self.restored(server), 100)
        self.network.run(70)
        self.assertEqual(self.restored(server), 0)
        self.assertEqual(server.registrar.count, 100)
        self.kill(server)
        etr.stopService()
        self.network.run(5)
        self.services.remove(etr)
        server = self.remembering()
        self._register_all(self.etr(**options))
        self.assertEqual(self.restored(server), 0)
        self.assertEqual(server.registrar.count, 100)

    def _register_all(self, etr: Etr) -> None:
        eids = [f"10.1.{number}.0/24" for number in range(100)]
        results = [outcome(etr.register(mapping(eid, ETR_ONE))) for eid in eids]
        self.network.run(15)
        self.assertEqual(results, [[None]] * 100)

    def test_what_was_confirmed_survives_the_next_restart(self) -> None:
        """Though nothing has changed."""
        server = self.remembering()
        etr = self.etr()
        self.network.run(10)
        self.register(etr, "10.1.1.0/24")
        self.network.run(1.0)
        for _restart in range(3):
            self.kill(server)
            server = self.remembering()
            self.network.run(300)
            self.assertEqual(self.restored(server), 0)
            self.assertEqual(server.registrar.count, 1)

    def test_what_was_withdrawn_does_not_come_back(self) -> None:
        """Nobody was told otherwise."""
        server = self.remembering()
        etr = self.etr()
        self.network.run(10)
        self.register(etr, "10.1.1.0/24", "10.1.2.0/24")
        self.network.run(2)
        outcome(etr.withdraw(eid_of("10.1.1.0/24")))
        self.network.run(2)
        self.kill(server)
        server = self.remembering()
        self.network.run(0.01)
        self.assertEqual(self.memory_of(server).counters["restored"], 1)
        self.assertEqual(negative(self.ask("10.1.1.1"))[1], 1)

    def test_an_etr_may_withdraw_before_all_is_restored(self) -> None:
        """Over UDP, with the first datagram after the start."""
        server = self.remembering()
        xtr = self._udp_xtr(server)
        self._register_over_udp(server, xtr, "10.1.1.0/24", now=self.network.seconds())
        self.network.run(2)
        self.kill(server)
        server = self.remembering()
        self.assertTrue(self.memory_of(server).is_partial)
        self._register_over_udp(server, xtr, "10.1.1.0/24", now=self.network.seconds(), ttl=0)
        self.assertEqual(server.registrar.counters["withdrawn"], 1)
        self.network.run(2)
        self.assertEqual(server.registrar.count, 0)
        self.kill(server)
        self.network.run(1)
        server = self.remembering()
        self.network.run(1)
        self.assertEqual(server.registrar.count, 0)

    def test_udp_registrations_get_the_rest_of_their_time(self) -> None:
        """The time without a Map-Server counted: 180 s after the last Map-Register, no more."""
        for away, is_back in ((100.0, True), (170.0, True), (190.0, False)):
            server = self.remembering()
            xtr = self._udp_xtr(server)
            heard = self.network.seconds()
            self._register_over_udp(server, xtr, "10.1.1.0/24", now=heard)
            self.network.run(2)
            self.kill(server)
            self.network.run(away - 2)
            server = self.remembering()
            self.network.run(0.1)
            self.assertEqual(server.registrar.count, int(is_back), away)
            if is_back:
                self.network.run(heard + 181.5 - self.network.seconds())
                self.assertEqual(server.registrar.count, 0)
            self.kill(server)
            self.path.unlink()

    def test_udp_registrations_that_are_refreshed_begin_their_time_anew(self) -> None:
        """Though nothing changes."""
        server = self.remembering()
        xtr = self._udp_xtr(server)
        for _minute in range(5):
            self._register_over_udp(server, xtr, "10.1.1.0/24", now=self.network.seconds())
            self.network.run(60)
        self.kill(server)
        self.network.run(60)
        server = self.remembering()
        self.network.run(0.1)
        self.assertEqual(server.registrar.count, 1)

    def _udp_xtr(self, server: MapServer) -> Xtr:
        return Xtr("campus", bytes(range(24)), b"")

    def _register_over_udp(
        self,
        server: MapServer,
        xtr: Xtr,
        eid: str,
        *,
        now: float,
        ttl: int = 1440,
        flags: int = 0,
    ) -> None:
        data = encode_record(
            MappingRecord(eid_of(eid), ttl, (Locator(Address.from_text(ETR_ONE)),) if ttl else ())
        )
        (span,) = walk_records(data, 0, len(data), 1)
        registered = server.registrar.enter_over_udp(
            xtr,
            f"{ETR_ONE}:4342",
            server.registrar.sites.by_name()["campus"],
            data,
            span,
            int(RegisterFlag.PROXY_REPLY) | flags,
            now,
        )
        self.assertIs(registered, Verdict.ACCEPTED)

    def test_an_xtr_that_is_back_before_all_of_it_is_restored(self) -> None:
        """What is restored behind its back is its own all the same, in the next restart too."""
        server = self.remembering()
        one, two = (Xtr("campus", bytes((number,)) * 24, b"") for number in (1, 2))
        many = [f"10.1.{number >> 2}.{number % 4 * 64}/26" for number in range(256)]
        few = [f"10.1.{number}.0/24" for number in range(200, 210)]
        for xtr, eids in ((one, many), (two, few)):
            for eid in eids:
                self._register_over_udp(server, xtr, eid, now=self.network.seconds())
            self.network.run(2)
        self.kill(server)
        server = self.remembering()
        few.append("10.1.255.0/24")
        self._register_over_udp(server, two, few[-1], now=self.network.seconds())
        self.network.run(2)
        self.assertEqual(server.registrar.count, 256 + 11)
        for _minute in range(5):
            for eid in few:
                self._register_over_udp(server, two, eid, now=self.network.seconds())
            self.network.run(60)
        self.kill(server)
        server = self.remembering()
        self.network.run(2)
        self.assertEqual(server.registrar.count, 11)

    def test_merged_with_what_is_not_restored_yet(self) -> None:
        """Who registers its part before the others' are restored takes nothing from them."""
        server = self.remembering()
        xtrs = [Xtr("campus", bytes((number,)) * 24, b"") for number in (1, 2)]

        def register(*those: Xtr) -> None:
            for xtr in those:
                now, merge = self.network.seconds(), int(RegisterFlag.MERGE)
                self._register_over_udp(server, xtr, "10.1.1.0/24", now=now, flags=merge)

        register(*xtrs)
        self.assertEqual(server.registrar.count, 2)
        self.network.run(3)
        for _life in range(2):
            self.kill(server)
            server = self.remembering()
            register(xtrs[1])
            self.network.run(3)
            self.assertEqual(server.registrar.count, 2)

    def test_merged_and_over_before_all_is_restored(self) -> None:
        """What is written then has the others' parts too, killed or stopped."""
        server = self.remembering()
        now, merge = self.network.seconds(), int(RegisterFlag.MERGE)
        one, two = (Xtr("campus", bytes((number,)) * 24, b"") for number in (1, 2))
        for xtr in (one, two):
            self._register_over_udp(server, xtr, "10.1.1.0/24", now=now, flags=merge)
        self.network.run(3)
        self.kill(server)
        for is_killed in (True, False):
            server = self.remembering()
            now = self.network.seconds()
            self._register_over_udp(server, two, "10.1.1.0/24", now=now, flags=merge)
            if is_killed:
                self.memory_of(server)._turn()
                self.assertEqual(self.memory_of(server).unwritten, 0)
            self.assertTrue(self.memory_of(server).is_partial)
            if is_killed:
                self.kill(server)
            else:
                server.stopService()
                self.network.run(1)
                self.assertFalse(self.memory_of(server).is_partial)
                self.services.remove(server)
        server = self.remembering()
        self.network.run(1)
        self.assertEqual(server.registrar.count, 2)

    def test_what_ended_before_it_was_restored_stays_so(self) -> None:
        """However it ended: the file is out of date, written or not."""
        server = self.remembering()
        self._register_over_udp(
            server, self._udp_xtr(server), "10.1.1.0/24", now=self.network.seconds()
        )
        self.network.run(2)
        self.kill(server)
        server = self.remembering()
        other = Xtr("campus", bytes(24), b"")
        self._register_over_udp(server, other, "10.1.1.0/24", now=self.network.seconds())
        (table,) = server.database.tables.values()
        ((key, part),) = table.entries.items()
        server.registrar._end(table, key, part, End.DECONFIGURED)
        self.network.run(2)
        self.assertEqual(server.registrar.count, 0)

    def test_a_wall_clock_that_was_stepped_changes_nothing(self) -> None:
        """The host was not restarted: it knows itself how long there was no Map-Server."""
        for step in (-3600.0, 10 * 365 * 86_400.0):
            server = self.remembering()
            self._register_over_udp(
                server, self._udp_xtr(server), "10.1.1.0/24", now=self.network.seconds()
            )
            self.network.run(2)
            self.kill(server)
            self.stepped += step
            server = self.remembering()
            self.network.run(170)
            self.assertEqual(server.registrar.count, 1)
            self.network.run(20)
            self.assertEqual(server.registrar.count, 0)
            self.kill(server)

    def test_a_host_that_is_restarted_with_a_wrong_clock(self) -> None:
        """Back in time: the full time at most. Far ahead: UDP registrations are over, and those of
        sessions wait for their ETRs as always.
        """
        for step, over_udp in ((-1e9, 1), (1e9, 0)):
            self.boot, self.stepped = "one", 0.0
            server = self.remembering()
            etr = self.etr()
            self.network.run(10)
            self.register(etr, "10.1.2.0/24")
            self._register_over_udp(
                server, self._udp_xtr(server), "10.1.1.0/24", now=self.network.seconds()
            )
            self.network.run(2)
            self.kill(server)
            etr.stopService()
            self.network.run(20)
            self.services.remove(etr)
            self.boot, self.stepped = "two", step
            server = self.remembering()
            self.network.run(1)
            self.assertEqual(server.registrar.count, 1 + over_udp, step)
            self.network.run(182)
            self.assertEqual(server.registrar.count, 0, step)
            self.kill(server)
            self.path.unlink()

    def test_other_sites_are_not_restored(self) -> None:
        """What the configuration in force would refuse is left out, for good."""
        server = self.remembering(site("campus", "10.1.0.0/16"))
        etr = self.etr()
        self.network.run(10)
        self.register(etr, "10.1.1.0/24", "10.1.128.0/24")
        self.network.run(2)
        self.kill(server)
        etr.stopService()
        self.network.run(1)
        self.services.remove(etr)
        server = self.remembering(site("campus", "10.1.0.0/17"))
        self.network.run(2)
        counters = self.memory_of(server).counters
        self.assertEqual(
            (counters["restored"], counters["not restored, no longer allowed"]), (1, 1)
        )
        self.kill(server)
        server = self.remembering(site("campus", "10.1.0.0/16"))
        self.network.run(2)
        self.assertEqual(server.registrar.count, 1)

    def test_merged_registrations_keep_their_parts(self) -> None:
        """And each part is confirmed by its own ETR."""
        server = self.remembering()
        options = {"server_options": "merge = true"}
        one = self.etr(**options)
        two = self.etr(host=ETR_TWO, **options)
        self.network.run(10)
        for etr in (one, two):
            self.register(etr, "10.1.1.0/24")
        self.network.run(2)
        self.assertEqual(sorted(rlocs(self.ask("10.1.1.1"))), [ETR_ONE, ETR_TWO])
        self.kill(server)
        for etr in (one, two):
            etr.stopService()
        self.network.run(1)
        self.services.remove(one)
        self.services.remove(two)
        server = self.remembering()
        self.assertEqual(sorted(rlocs(self.ask("10.1.1.1"))), [ETR_ONE, ETR_TWO])
        self.assertEqual(server.registrar.count, 2)

    def test_an_orderly_end_keeps_everything(self) -> None:
        """What changed just before, and sessions count as live until then."""
        server = self.remembering()
        etr = self.etr()
        self.network.run(10)
        self.register(etr, "10.1.1.0/24")
        result = outcome(server.stopService())
        self.network.run(1)
        self.assertEqual(result, [None])
        self.services.remove(server)
        etr.stopService()
        self.network.run(300)
        self.services.remove(etr)
        server = self.remembering()
        self.network.run(100)
        self.assertEqual(server.registrar.count, 1)

    def test_the_views_tell_what_is_restored(self) -> None:
        """Registrations, and the history."""
        server = self.remembering()
        etr = self.etr()
        self.network.run(10)
        self.register(etr, "10.1.1.0/24")
        self.network.run(2)
        self.kill(server)
        server = self.remembering()
        self.network.run(0.01)
        views = MapServerViews(server)
        (found,) = views.registrations().items
        self.assertTrue(found.restored)
        self.assertEqual(found.parts[0].state, "restored: waiting to be confirmed")
        line = next(iter(server.mapping.history.newest_first()))
        self.assertEqual((line.event, line.at), ("restored", server.started))
        self.network.run(120)
        (found,) = views.registrations().items
        self.assertFalse(found.restored)

    def test_a_caught_map_register_is_no_good_after_a_restart(self) -> None:
        """Neither of an ETR that counts its nonces up, nor of one that draws them at random."""
        for nonces in (range(1, 40), (9, 3, 7, 1, 8)):
            server = self.remembering()
            memory = server.mapping.registrations.nonces
            who = (self._udp_xtr(server), b"the key.")
            for nonce in nonces:
                self.assertTrue(memory.is_fresh("campus", who, nonce))
            self.assertTrue(memory.is_from_origin("campus", b"MAC", b"here"))
            self.network.run(1)
            self.kill(server)
            server = self.remembering()
            memory = server.mapping.registrations.nonces
            for nonce in nonces:
                self.assertFalse(memory.is_fresh("campus", who, nonce))
            self.assertFalse(memory.is_from_origin("campus", b"MAC", b"there"))
            self.assertTrue(memory.is_fresh("campus", who, 100))
            self.network.run(1)
            self.kill(server)
            server = self.remembering()
            memory = server.mapping.registrations.nonces
            self.assertFalse(memory.is_fresh("campus", who, 100))
            self.kill(server)
            self.path.unlink()


class FileTests(StorageGround):
    """What can be wrong with the file."""

    def _fill(self) -> None:
        server = self.remembering()
        etr = self.etr()
        self.network.run(10)
        self.register(etr, "10.1.1.0/24")
        self.network.run(2)
        self.kill(server)
        etr.stopService()
        self.network.run(20)
        self.services.remove(etr)

    def _logged(self) -> list[str]:
        events: list[LogEvent] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        self._events = events
        return []

    def _problems(self) -> list[str]:
        return [
            str(formatEvent(event))
            for event in self._events
            if event["log_level"] is LogLevel.error
        ]

    def _assert_set_aside(self, reason: str) -> None:
        self._logged()
        server = self.remembering()
        self.network.run(1)
        self.assertEqual(server.registrar.count, 0)
        self.assertEqual(self.memory_of(server).counters["files set aside"], 1)
        (told,) = self._problems()
        self.assertIn(f"{self.path} was set aside", told)
        self.assertIn(reason, told)
        self.assertEqual(len(list(self.path.parent.glob("*.damaged-*"))), 1)
        self.kill(server)
        # What is begun in its place serves.
        for aside in self.path.parent.glob("*.damaged-*"):
            aside.unlink()
        self._fill()
        server = self.remembering()
        self.network.run(1)
        self.assertEqual(server.registrar.count, 1)

    def test_no_database(self) -> None:
        """A text."""
        self.path.parent.mkdir()
        self.path.write_text("this is no database at all" * 100)
        self.path.chmod(0o600)
        self._assert_set_aside("not a database")

    def test_the_database_of_another_program(self) -> None:
        """Nothing of it is touched."""
        self.path.parent.mkdir()
        with closing(sqlite3.connect(self.path)) as other:
            other.executescript("CREATE TABLE music (title TEXT)")
        self.path.chmod(0o600)
        self._assert_set_aside("not written by lispmsrt")

    def test_the_database_of_another_release(self) -> None:
        """A newer one knows things that we do not."""
        self._fill()
        with closing(sqlite3.connect(self.path)) as other:
            other.execute("PRAGMA user_version = 99")
        self._assert_set_aside("its version is 99")

    def test_tables_that_are_not_ours(self) -> None:
        """A trigger would be executed."""
        self._fill()
        with closing(sqlite3.connect(self.path)) as other:
            other.executescript(
                "CREATE TRIGGER evil AFTER INSERT ON xtr BEGIN DELETE FROM segment; END"
            )
        self._assert_set_aside("its tables are not ours")

    def test_a_file_that_others_may_write(self) -> None:
        """They could register what they like."""
        self._fill()
        self.path.chmod(0o666)
        self._assert_set_aside("others may read or write it")

    def test_damaged_pages(self) -> None:
        """Wherever they are: nothing is fatal, and nothing wrong is restored."""
        self._fill()
        with closing(sqlite3.connect(self.path)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        good = self.path.read_bytes()
        for at in range(0, len(good), 509):
            self.path.write_bytes(good[:at] + bytes(255 - one for one in good[at : at + 64]))
            self._check_harmless(at)
            self.path.write_bytes(
                good[:at] + bytes(255 - one for one in good[at : at + 64]) + good[at + 64 :]
            )
            self._check_harmless(at)

    def _check_harmless(self, at: int) -> None:
        self.path.chmod(0o600)
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        server = self.remembering()
        self.network.run(1)
        self.assertIn(server.registrar.count, (0, 1), at)
        if server.registrar.count:
            self.assertEqual(rlocs(self.ask("10.1.1.1")), [ETR_ONE], at)
        result = outcome(server.stopService())
        self.network.run(1)
        self.assertEqual(result, [None], at)
        self.services.remove(server)
        for aside in self.path.parent.glob("*.damaged-*"):
            aside.unlink()

    def test_a_write_that_was_cut_short(self) -> None:
        """A prefix of the write-ahead log: the last whole portion counts."""
        self._fill()
        wal = self.path.with_name(f"{self.path.name}-wal")
        whole = wal.read_bytes() if wal.exists() else b""
        base = self.path.read_bytes()
        for size in range(0, len(whole) + 1, 1031):
            self.path.write_bytes(base)
            wal.write_bytes(whole[:size])
            wal.with_name(f"{self.path.name}-shm").unlink(missing_ok=True)
            server = self.remembering()
            self.network.run(0.1)
            self.assertIn(server.registrar.count, (0, 1))
            self.kill(server)
            for aside in self.path.parent.glob("*.damaged-*"):
                aside.unlink()

    def test_few_files_are_kept_that_were_set_aside(self) -> None:
        """They may be large."""
        self.path.parent.mkdir()
        for number in range(10):
            self.path.with_name(f"{self.path.name}.damaged-2020{number}").write_text("old")
        self.path.write_text("not a database, but long enough to be looked at" * 50)
        self.path.chmod(0o600)
        server = self.remembering()
        self.assertEqual(len(list(self.path.parent.glob("*.damaged-*"))), MAX_SET_ASIDE)
        self.kill(server)

    def test_a_second_daemon_goes_on_without(self) -> None:
        """And says so; the first one is not disturbed."""
        server = self.remembering()
        self._logged()
        second = self._second()
        (told,) = self._problems()
        self.assertIn("another process keeps its memory", told)
        self.assertIn("another process", self.memory_of(second).problem)
        self.assertEqual(self.memory_of(server).problem, "")
        self.assertFalse(self.memory_of(second).is_partial)

    def _second(self) -> MapServer:
        options = f'state = "{self.path}"'
        config = parse_config(server_text(host="192.0.2.9", options=options))
        assert config.map_server is not None
        server = MapServer(config.map_server, config.site, self.network, self.network)
        self.start(server)
        return server

    def test_a_directory_that_cannot_be_made(self) -> None:
        """The Map-Server serves all the same."""
        self.path.parent.parent.mkdir(parents=True, exist_ok=True)
        self.path.parent.write_text("a file")
        self._logged()
        server = self.remembering()
        (told,) = self._problems()
        self.assertIn("nothing will outlive this process", told)
        self.assertTrue(server.running)
        self.assertTrue(self.memory_of(server).problem)

    def test_a_directory_that_others_may_write(self) -> None:
        """What they put beside the file would be taken for a part of it; sticky or not."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for mode in (0o777, 0o1777):
            self.path.parent.chmod(mode)
            self._logged()
            server = self.remembering()
            (told,) = self._problems()
            self.assertIn("others may write to", told)
            self.assertTrue(server.running)
            self.assertFalse(self.path.exists())
            server.stopService()
            self.network.run(1)
        self.path.parent.chmod(0o700)

    def test_a_disk_that_is_full(self) -> None:
        """It is told once, tried again, and written when there is room."""
        server = self.remembering()
        etr = self.etr()
        self.network.run(10)
        memory = self.memory_of(server)
        saving = memory._saving
        assert saving is not None
        saving.file._writer.execute("PRAGMA max_page_count = 1").fetchall()
        self._logged()
        self.register(etr, *(f"10.1.{number}.0/24" for number in range(200)))
        self.network.run(30)
        (told,) = self._problems()
        self.assertIn("can't be written", told)
        self.assertIn("full", told)
        self.assertGreater(memory.counters["writes failed"], 2)
        self.assertGreaterEqual(memory.unwritten, 200)
        self.assertIn("full", memory.problem)
        saving.file._writer.execute("PRAGMA max_page_count = 100000").fetchall()
        self.network.run(10)
        self.assertEqual((memory.problem, memory.unwritten), ("", 0))
        self.kill(server)
        server = self.remembering()
        self.network.run(1)
        self.assertEqual(server.registrar.count, 200)

    def test_more_changes_than_may_wait(self) -> None:
        """They are forgotten, and all is written anew: what was withdrawn stays withdrawn."""
        server = self.remembering()
        etr = self.etr()
        self.network.run(10)
        eids = [f"10.1.{number}.0/24" for number in range(20)]
        self.register(etr, *eids)
        self.network.run(2)
        self.patch(memory_module, "MAX_UNWRITTEN", 5)
        for eid in eids[:10]:
            outcome(etr.withdraw(eid_of(eid)))
        self.network.run(5)
        self.patch(memory_module, "MAX_UNWRITTEN", 10**6)
        self.network.run(5)
        memory = self.memory_of(server)
        self.assertGreaterEqual(memory.counters["too many changes at once"], 1)
        self.assertEqual(memory.unwritten, 0)
        self.kill(server)
        etr.stopService()
        self.network.run(1)
        self.services.remove(etr)
        server = self.remembering()
        self.network.run(1)
        self.assertEqual(server.registrar.count, 10)

    def test_off_is_off(self) -> None:
        """Embedded, nothing is kept unless a file is named."""
        for option in ("", 'state = "off"', 'state = "auto"'):
            self.assertIsNone(self.server(server_text(options=option)).mapping.memory)
            self._stop_all()
            self.services.clear()
