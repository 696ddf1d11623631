"""``python -m benchmarks.floods`` rides out every flood and prints its row. No rate is asserted."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from dataclasses import replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.fleet_questions import Answers
from benchmarks.floods.attackers import client_hello
from benchmarks.floods.datagrams import armings, garbage, map_requests, subscriptions, wrong_macs
from benchmarks.floods.established import Registered, Registering
from benchmarks.floods.generator import Offered
from benchmarks.floods.kinds import KINDS
from benchmarks.floods.measuring import MOST_PARTS, Ridden, Slice, more_parts
from benchmarks.floods.table import HEADINGS, figure, flood_rows, missed
from benchmarks.page import flood_lines
from benchmarks.questions import nonce_in_ecm
from benchmarks.roles import SECRET
from lispmsrt.wire.authentication import AlgorithmId, Key, Purpose
from lispmsrt.wire.framing import encode_frame
from lispmsrt.wire.map_register import decode_map_register, walk_map_register
from lispmsrt.wire.reliable_transport import MessageType

_CHECKOUT = Path(__file__).parents[1]
_FEW = ("garbage-many", "macs20", "unarmed-tls", "armed-quic", "subscriptions", "trickle", "forged")
"""One at least of each sort."""

_KEY = Key(0, AlgorithmId.HMAC_SHA_256_128, SECRET.encode())


def _is_signed(message: bytes) -> bool:
    """Whether the MAC of a Map-Register is right."""
    length, end = walk_map_register(message, 0, len(message))[4], len(message)
    return _KEY.verify(message, 0, end, end, length, Purpose.MAP_REGISTER) is not None


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.floods", "--quick", *arguments],
        cwd=_CHECKOUT,
        capture_output=True,
        text=True,
        timeout=400,
    )


class FloodsTests(SynchronousTestCase):
    """The command itself."""

    def test_every_flood_has_its_row(self) -> None:
        """With what it can take, what is left, and what becomes of sessions and lookups."""
        has_quic = find_spec("aioquic") is not None
        chosen = list(KINDS) if os.environ.get("LISPMSRT_LONG") else _FEW
        kinds = [kind for kind in chosen if has_quic or not KINDS[kind].needs_quic]
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "floods.json"
            outcome = _run(f"--json={file}", f"--kinds={','.join(kinds)}")
            self.assertEqual((outcome.returncode, outcome.stderr), (0, ""))
            found = json.loads(file.read_text())
        self.assertEqual([row["kind"] for row in found["floods"]], kinds)
        for row in found["floods"]:
            self.assertIn(f"round 1, {row['kind']}: ", outcome.stdout)
            self.assertGreater(row["capacity"], 0)
            self.assertGreater(row["without the flood"], 0)
            self.assertEqual(row["lost"], 0)
        text = "\n".join(flood_lines(found))
        for kind in kinds:
            self.assertIn(KINDS[kind].name, text)

    def test_what_is_no_flood_is_refused(self) -> None:
        """Nothing runs."""
        outcome = _run("--kinds=garbage,water")
        self.assertEqual(outcome.returncode, 2)
        self.assertIn("water", outcome.stderr)


class MessagesTests(SynchronousTestCase):
    """What floods are made of is what they are said to be."""

    def test_wrong_macs_are_well_formed_and_wrong(self) -> None:
        """Of one record and of twenty."""
        for records in (1, 20):
            for message in islice(wrong_macs(records), 3):
                self.assertEqual(len(decode_map_register(message).records), records)
                self.assertFalse(_is_signed(message))

    def test_armings_are_authentic_and_fresh(self) -> None:
        """By one xTR after the other, the first again with a later nonce."""
        messages = list(islice(armings(2), 3))
        registers = [decode_map_register(message) for message in messages]
        for message, register in zip(messages, registers, strict=True):
            self.assertTrue(_is_signed(message))
            self.assertTrue(register.reliable_transport)
        self.assertEqual(registers[0].xtr_id, registers[2].xtr_id)
        self.assertNotEqual(registers[0].xtr_id, registers[1].xtr_id)
        self.assertLess(registers[0].nonce, registers[2].nonce)

    def test_others(self) -> None:
        """Subscriptions have nonces of their own; garbage is of all types; TLS shakes hands."""
        nonces = [nonce_in_ecm(message) for message in islice(subscriptions(), 50)]
        self.assertEqual(len(set(nonces)), 50)
        self.assertEqual({message[0] >> 4 for message in islice(garbage(), 4096)}, set(range(16)))
        self.assertTrue(all(message[0] >> 4 == 8 for message in islice(map_requests(), 50)))
        self.assertEqual(client_hello()[0], 22)

    def test_initials_begin_connections(self) -> None:
        """Each another one, in a datagram of the least size."""
        if find_spec("aioquic") is None:
            raise SkipTest("aioquic is not installed")
        from benchmarks.floods.quic import initials

        messages = list(islice(initials(), 3))
        self.assertEqual({message[0] & 0xF0 for message in messages}, {0xC0})
        self.assertTrue(all(len(message) >= 1200 for message in messages))
        self.assertEqual(len(set(messages)), 3)


class CountingTests(SynchronousTestCase):
    """Established sessions count what is acknowledged, and nothing else."""

    def test_acks_are_counted_wherever_chunks_end(self) -> None:
        """Behind a Refresh; a message of another type is none."""
        begin = encode_frame(MessageType.REGISTRATION_REFRESH, 1, bytes(3))
        acks = [encode_frame(MessageType.REGISTRATION_ACK, n, bytes(7)) for n in range(5)]
        stream = begin + b"".join(acks) + encode_frame(MessageType.MAPPING_NOTIFICATION, 9, b"")
        for size in (1, 3, 7, 8, 19, len(stream)):
            ours, theirs = socket.socketpair()
            with ours, theirs:
                ours.setblocking(False)
                registering = Registering(ours, 0)
                for at in range(0, len(stream), size):
                    theirs.send(stream[at : at + size])
                    self.assertTrue(registering.read())
                self.assertEqual(registering.acks, 5)
                theirs.close()
                self.assertFalse(registering.read())


class FigureTests(SynchronousTestCase):
    """What rounds come to."""

    def ridden(self, flooded: int, calm: int, *, lost: int = 0, number: int = 300) -> Ridden:
        """Return a round with so many Registrations, each in 2 s, 1 s of it the server's CPU."""
        none = Answers(4, 3, 3, 0.001, 0.002)
        under, without = (Slice(Registered(acks, 2.0, none), 1.0) for acks in (flooded, calm))
        return Ridden(100.0, Offered(number, None, 2.0, 0.5), under, without, lost, {})

    def row(self, *rounds: Ridden, kind: str = "garbage") -> dict[str, Any]:
        """Return their figure."""
        return figure(kind, rounds)

    def test_half_is_enough(self) -> None:
        """Of the median round, by the clock."""
        self.assertTrue(self.row(self.ridden(50, 100))["met"])
        found = self.row(self.ridden(49, 100), self.ridden(100, 100), self.ridden(48, 100))
        self.assertEqual((found["ratio"], found["met"]), (0.49, False))

    def test_a_lost_session_is_one_too_many(self) -> None:
        """In any round."""
        found = self.row(self.ridden(90, 100, lost=1), self.ridden(90, 100))
        self.assertEqual((found["lost"], found["met"]), (1, False))
        self.assertEqual(missed([found, self.row(self.ridden(90, 100))]), ["garbage"])

    def test_what_has_no_aim_may_lose_no_session_either(self) -> None:
        """Valid Registrations that change the database are work, whoever sends them."""
        self.assertIsNone(self.row(self.ridden(1, 100), kind="takeovers")["met"])
        lost = self.row(self.ridden(90, 100, lost=1), kind="takeovers")
        self.assertEqual(missed([lost]), ["takeovers"])

    def test_the_core_is_cut_until_twice_can_be_offered(self) -> None:
        """Into so many parts at most; not where there is enough, nor where TCP holds it back."""
        whole = self.ridden(9, 9, number=100)
        self.assertEqual(more_parts("garbage", self.ridden(9, 9, number=380)), None)
        for parts, following in {1: 2, 2: 3, 3: 4, 4: None}.items():
            self.assertEqual(more_parts("garbage", replace(whole, parts=parts)), following)
        none = replace(whole, offered=Offered(0, None, 2.0, 0.5), parts=MOST_PARTS)
        self.assertEqual(more_parts("garbage", none), None)
        self.assertEqual(more_parts("trickle", whole), None)

    def test_what_was_not_offered_is_told(self) -> None:
        """The load's core may be too slow."""
        (cells,) = flood_rows([self.row(self.ridden(90, 100))])
        self.assertEqual(len(cells), len(HEADINGS))
        self.assertIn("1.5 of 2 x", cells)
        self.assertIn("75%", cells)
