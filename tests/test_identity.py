"""An ETR's identity over restarts, crashes and stepped clocks."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogEvent, capturedLogs, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt import parse_config
from lispmsrt.config import EtrConfig
from lispmsrt.identity import EtrIdentity, StateError
from tests.rim import XTR_ID, etr_text


def _config(state_dir: Path | None, xtr_id: str = "") -> EtrConfig:
    options = f'state-dir = "{state_dir}"' if state_dir else ""
    if state_dir and xtr_id:
        options += f'\nxtr-id = "{xtr_id}"'
    config = parse_config(etr_text(options=options)).etr
    assert config is not None
    return config


def _at(nanoseconds: int) -> Callable[[], int]:
    return lambda: nanoseconds


class IdentityTests(SynchronousTestCase):
    """xTR-ID, Site-ID, nonces."""

    def setUp(self) -> None:
        """A state directory that is not there yet."""
        self.directory = Path(self.mktemp()) / "deep" / "state"
        self.file = self.directory / "etr-identity.json"

    def _start(self, now: int = 10**18) -> EtrIdentity:
        identity = EtrIdentity.from_config(_config(self.directory), _at(now))
        identity.save()
        return identity

    def test_ids_are_xtr_id_and_site_id(self) -> None:
        """As they stand at the end of a Map-Register."""
        identity = EtrIdentity.from_config(_config(None))
        self.assertEqual(identity.ids.hex(), XTR_ID + "0000000000000001")

    def test_an_xtr_id_is_made_once_and_kept(self) -> None:
        """Also when the process was killed right after its start."""
        first = self._start()
        self.assertEqual(len(first.ids), 24)
        self.assertEqual(self._start().ids, first.ids)
        os.remove(self.file)
        self.assertNotEqual(self._start().ids, first.ids)

    def test_a_configured_xtr_id_counts_and_is_kept(self) -> None:
        """Over the one that was made."""
        self._start()
        identity = EtrIdentity.from_config(_config(self.directory, XTR_ID))
        identity.save()
        self.assertEqual(identity.ids[:16].hex(), XTR_ID)
        self.assertEqual(self._start().ids[:16].hex(), XTR_ID)

    def test_the_state_is_the_owners_alone(self) -> None:
        """Nobody else reads or writes the directory that was made."""
        self._start()
        self.assertEqual(self.directory.stat().st_mode & 0o777, 0o700)

    def test_a_relative_directory_does_not_follow_the_process(self) -> None:
        """A daemon changes its directory after the configuration is read."""
        self.addCleanup(os.chdir, os.getcwd())
        relative = Path(os.path.relpath(self.directory))
        identity = EtrIdentity.from_config(_config(relative))
        os.chdir("/")
        identity.next_nonce()
        identity.save()
        self.assertFalse(Path("/", relative.parts[0]).exists() and relative.parts[0] != "..")

    # Nonces

    def test_nonces_strictly_increase(self) -> None:
        """Every one is greater than the one before."""
        identity = self._start()
        nonces = [identity.next_nonce() for _ in range(1000)]
        self.assertEqual(nonces, sorted(set(nonces)))

    def test_nonces_start_from_the_wall_clock(self) -> None:
        """So that an ETR whose state was lost is not taken for a replay."""
        self.assertGreater(self._start(10**18).next_nonce(), 10**18)
        identity = EtrIdentity.from_config(_config(None), _at(5))
        self.assertEqual(identity.next_nonce(), 6)
        identity.save()

    def test_a_nonce_fits_64_bits(self) -> None:
        """In the year 2554."""
        identity = EtrIdentity(bytes(16), 0, first_nonce=(1 << 64) - 1)
        self.assertEqual(identity.next_nonce(), 0)

    def test_nonces_increase_over_a_restart_with_the_wall_clock_stepped_back(self) -> None:
        """After a clean stop, and after a kill."""
        identity = self._start(10**18)
        last = identity.next_nonce()
        identity.save()
        later = self._start(1)
        self.assertGreater(later.next_nonce(), last)
        last = later.next_nonce()  # killed: nothing is saved
        self.assertGreater(self._start(1).next_nonce(), last)

    def test_saving_gives_back_what_was_not_used(self) -> None:
        """A clean stop loses no nonces."""
        identity = self._start(10**18)
        last = identity.next_nonce()
        identity.save()
        self.assertEqual(self._start(1).next_nonce(), last + 1)

    def test_going_on_after_saving_reserves_anew(self) -> None:
        """A service that is started again and then killed loses no order."""
        identity = self._start(10**18)
        identity.next_nonce()
        identity.save()
        last = [identity.next_nonce() for _ in range(10)][-1]
        self.assertGreater(self._start(1).next_nonce(), last)

    @given(
        st.lists(
            st.tuples(st.integers(0, 2**62), st.integers(0, 5), st.booleans()),
            min_size=2,
            max_size=8,
        )
    )
    def test_nonces_increase_over_any_lives(self, lives: list[tuple[int, int, bool]]) -> None:
        """Any wall clock, any number of nonces, stopped or killed."""
        self.setUp()
        latest = -1
        for now, uses, is_saved in lives:
            identity = self._start(now)
            for _ in range(uses):
                nonce = identity.next_nonce()
                self.assertGreater(nonce, latest)
                latest = nonce
            if is_saved:
                identity.save()

    # What can be wrong with the directory

    def test_a_damaged_file_is_set_aside_and_told_in_one_sentence(self) -> None:
        """Never trusted and never fatal; the nonces go on from the wall clock."""
        first = self._start()
        good = json.loads(self.file.read_text())
        for number, text in enumerate(
            (
                "",
                "[]",
                "{",
                "7",
                "[" * 100_000,
                json.dumps({}),
                json.dumps({**good, "xtr-id": "00"}),
                json.dumps({**good, "xtr-id": 5}),
                json.dumps({**good, "nonce": -1}),
                json.dumps({**good, "nonce": 1 << 70}),
                json.dumps({**good, "nonce": None}),
            )
        ):
            self.file.write_text(text)
            events: list[LogEvent] = []
            globalLogPublisher.addObserver(events.append)
            identity = self._start(10**18 + number)
            globalLogPublisher.removeObserver(events.append)
            told = [str(formatEvent(event)) for event in events]
            self.assertEqual(len(told), 1, told)
            self.assertIn(f"{self.file} is damaged", told[0])
            self.assertNotEqual(identity.ids, first.ids)
            self.assertGreater(identity.next_nonce(), 10**18 + number)
        aside = sorted(self.directory.glob("*.damaged-*"))
        self.assertTrue(1 <= len(aside) <= 3, aside)

    def test_a_damaged_file_does_not_change_a_configured_xtr_id(self) -> None:
        """There only the nonces begin anew."""
        self._start()
        self.file.write_text("not JSON")
        identity = EtrIdentity.from_config(_config(self.directory, XTR_ID), _at(10**18))
        self.assertEqual(identity.ids[:16].hex(), XTR_ID)
        self.assertGreater(identity.next_nonce(), 10**18)

    def test_the_file_is_the_owners_alone(self) -> None:
        """Whatever the umask: who writes it decides which nonces are taken."""
        self.addCleanup(os.umask, os.umask(0))
        self._start()
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o600)

    def test_a_directory_that_cannot_be_used_is_told_in_one_sentence(self) -> None:
        """Before the first packet."""
        self.directory.parent.mkdir(parents=True)
        self.directory.write_text("a file")
        error = self.assertRaises(StateError, self._start)
        self.assertIn("can't be read: Not a directory", str(error))

    def test_a_file_that_cannot_be_written_is_told_in_one_sentence(self) -> None:
        """The partial file is in the way."""
        (self.directory / "etr-identity.new").mkdir(parents=True)
        error = self.assertRaises(StateError, self._start)
        self.assertIn("can't be written: Is a directory", str(error))

    def test_nothing_is_written_before_the_service_starts(self) -> None:
        """A daemon that was started by root has become somebody else by then."""
        EtrIdentity.from_config(_config(self.directory))
        self.assertFalse(self.directory.exists())

    def test_a_disk_that_is_full_while_it_runs_ends_nothing(self) -> None:
        """It is told once, tried again, and in order again when there is room."""
        identity = self._start()
        in_the_way = self.directory / "etr-identity.new"
        in_the_way.mkdir()
        with capturedLogs() as events:
            nonces = [identity.next_nonce() for _ in range(5_000)]
        self.assertEqual(nonces, sorted(set(nonces)))
        told = [str(formatEvent(event)) for event in events]
        self.assertEqual(len(told), 1, told)
        self.assertIn("can't be written: Is a directory: nonces go on", told[0])
        in_the_way.rmdir()
        last = [identity.next_nonce() for _ in range(2_000)][-1]
        self.assertGreater(self._start(1).next_nonce(), last)
