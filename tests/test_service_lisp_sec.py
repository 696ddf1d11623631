"""LISP-SEC between whole services: ITR, Map-Resolver, Map-Server, ETR (RFC 9303)."""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

from twisted.internet.defer import Deferred

from lispmsrt.cli.lig import Asker
from lispmsrt.control.inquiries import Answer, Form
from lispmsrt.control.secured_requests import ReplyFault
from lispmsrt.services.requester import NoAnswerError
from lispmsrt.wire.authentication import AlgorithmId, Key
from lispmsrt.wire.encapsulated import decode_encapsulated
from lispmsrt.wire.map_reply import MapReply, decode_map_reply, encode_map_reply
from lispmsrt.wire.messages import ControlType, message_type
from lispmsrt.wire.records import Action, encode_record
from tests.rim import Packet, mapping, outcome
from tests.service_ground import (
    ETR_ONE,
    ETR_TWO,
    ITR,
    MAP_RESOLVER,
    MAP_SERVER,
    Ground,
    eid_of,
    negative,
    rlocs,
    server_text,
    site,
)

_KEY = Key(5, AlgorithmId.HMAC_SHA_256_128, b"secret of the ITRs")
_KEYS = 'itr-keys = [{ id = 5, secret = "secret of the ITRs" }]\n'
_NO_PROXY, _LISP_SEC, _OVER_UDP = "proxy-reply = false", "lisp-sec = true", 'session = "off"'
_FOE = "203.0.113.66"
_NATIVELY = int(Action.NATIVELY_FORWARD)


class _Case(Ground):
    def ask_securely(self, eid: str = "10.1.1.5", to: str = MAP_SERVER, key: Key = _KEY) -> Any:
        """Ask with LISP-SEC; return the Answer, or what came in its place."""
        return self.ask(eid, to, secured_by=key)

    def authentic(self, answer: Any) -> Answer:
        """Return an answer that must be authentic."""
        self.assertIsInstance(answer, Answer)
        self.assertTrue(answer.is_secured)
        return answer  # type: ignore[no-any-return]


class MapServerTests(_Case):
    """The Map-Server answers."""

    def test_a_proxy_signs_itself(self) -> None:
        """Whether the ETR does LISP-SEC or not."""
        self.server(server_text(options=_KEYS))
        self.etr("10.1.1.0/24")
        self.network.run(1)
        answer = self.authentic(self.ask_securely())
        self.assertEqual((rlocs(answer), answer.etr_cannot_sign), ([ETR_ONE], False))

    def test_negative_answers_are_signed_too(self) -> None:
        """No site, and nobody registered."""
        self.server(server_text(options=_KEYS))
        for eid, said in (
            ("11.0.0.1", ("11.0.0.0/8", 15, _NATIVELY)),
            ("10.1.1.1", ("10.1.0.0/16", 1, _NATIVELY)),
        ):
            self.assertEqual(negative(self.authentic(self.ask_securely(eid))), said)

    def test_an_itr_without_lisp_sec_is_answered_as_ever(self) -> None:
        """What was not asked for is not there."""
        self.server(server_text(options=_KEYS))
        self.etr("10.1.1.0/24", server_options=f"{_NO_PROXY}\n{_LISP_SEC}")
        self.network.run(1)
        answer = self.ask("10.1.1.5")
        self.assertEqual((rlocs(answer), answer.is_secured), ([ETR_ONE], False))

    def test_a_map_server_without_keys_answers_without(self) -> None:
        """The ITR does not believe it: it asked for more."""
        self.server()
        self.etr("10.1.1.0/24")
        self.network.run(1)
        failure = self.ask_securely()
        self.assertIsInstance(failure, NoAnswerError)
        self.assertIs(failure.fault, ReplyFault.UNSECURED)
        self.assertEqual(
            str(failure),
            "no authentic answer from 192.0.2.1:4342 about 10.1.1.5/32:"
            " Map-Replies without LISP-SEC to a secured Map-Request",
        )

    def test_another_key_under_the_id_is_told_of_an_authentication_failure(self) -> None:
        """ACT 5, and nothing about the EID; who can't verify that does not believe it."""
        self.server(server_text(options=_KEYS))
        self.etr("10.1.1.0/24")
        self.network.run(1)
        self.network.packets.clear()
        failure = self.ask_securely(key=Key(5, AlgorithmId.HMAC_SHA_256_128, b"another"))
        self.assertIs(failure.fault, ReplyFault.UNSECURED)
        (reply,) = self.network.udp_payloads(ITR)
        self.assertNotIn(bytes([198, 51, 100, 1]), reply)

    def test_lisp_sec_needs_an_ecm(self) -> None:
        """Its data are in there."""
        self.server(server_text(options=_KEYS))
        self.assertIsInstance(self.ask("10.1.1.5", form=Form.PLAIN, secured_by=_KEY), ValueError)


class EtrTests(_Case):
    """The ETR answers."""

    def setUp(self) -> None:
        """A Map-Server that shares keys with ITRs."""
        super().setUp()
        self.map_server = self.server(server_text(options=_KEYS))

    def _register(self, host: str, *options: str) -> Any:
        etr = self.etr("10.1.1.0/24", host=host, server_options="\n".join(options))
        self.network.run(1)
        return etr

    def test_the_etr_signs(self) -> None:
        """On a session, and over UDP."""
        for way in ("", _OVER_UDP):
            etr = self._register(ETR_ONE, _NO_PROXY, _LISP_SEC, way)
            answer = self.authentic(self.ask_securely())
            self.assertEqual(answer.source[0], bytes([198, 51, 100, 1]))
            self.assertTrue(answer.record.authoritative)
            self.assertFalse(answer.etr_cannot_sign)
            etr.stopService()
            self.services.remove(etr)
            self.network.run(1)

    def test_an_etr_without_is_not_asked(self) -> None:
        """The Map-Server says, signed, that this can't be had with LISP-SEC."""
        self._register(ETR_ONE, _NO_PROXY)
        self.network.packets.clear()
        answer = self.authentic(self.ask_securely())
        self.assertEqual(negative(answer), ("10.1.1.0/24", 1, int(Action.DROP_AUTH_FAILURE)))
        self.assertTrue(answer.etr_cannot_sign)
        self.assertEqual(self.network.udp_payloads(ETR_ONE), [])

    def test_of_two_only_the_one_that_signs_is_asked(self) -> None:
        """And the E bit says that there is another."""
        self._register(ETR_ONE, _NO_PROXY, "merge = true")
        self._register(ETR_TWO, _NO_PROXY, _LISP_SEC, "merge = true")
        for _ in range(4):
            answer = self.authentic(self.ask_securely())
            self.assertEqual(answer.source[0], bytes([198, 51, 100, 2]))
            self.assertTrue(answer.etr_cannot_sign)

    def test_an_etr_that_claims_more_is_believed_no_more_than_it_registered(self) -> None:
        """It says 10.0.0.0/8, and registers 10.1.1.0/24."""
        etr = self._register(ETR_ONE, _NO_PROXY, _LISP_SEC)
        etr._mappings.remove(mapping().eid)
        etr._mappings.put(_record_of("10.0.0.0/8"))
        answer = self.authentic(self.ask_securely())
        self.assertEqual(str(answer.record.eid), "10.1.1.0/24")


def _record_of(eid: str) -> bytes:
    return encode_record(mapping(eid))


class OnTheWayTests(_Case):
    """Somebody between ITR and Map-Server."""

    def setUp(self) -> None:
        """The ETR signs."""
        super().setUp()
        self.map_server = self.server(server_text(options=_KEYS))
        self.etr("10.1.1.0/24", server_options=f"{_NO_PROXY}\n{_LISP_SEC}")
        self.network.run(1)

    def _answer_first(self, packet: Packet) -> bool:
        """Answer a Map-Request to the Map-Server before it gets there."""
        if packet.destination[0] == MAP_SERVER and packet.source[0] == ITR:
            nonce = decode_encapsulated(packet.data).payload[4:12]
            forged = MapReply(int.from_bytes(nonce, "big"), (mapping("10.1.1.0/24", _FOE),))
            self.network.send((_FOE, 4342), packet.source, encode_map_reply(forged))
        return False

    def test_a_forged_reply_does_not_keep_the_true_one_from_being_heard(self) -> None:
        """It is counted."""
        requester = self.itr(secured_by=_KEY)
        self.network.loses = self._answer_first
        result = outcome(requester.ask(eid_of("10.1.1.5")))
        self.network.run()
        self.assertEqual(rlocs(self.authentic(result[0])), [ETR_ONE])
        self.assertEqual(requester.counters[ReplyFault.UNSECURED.value], 1)

    def test_a_changed_reply_is_not_believed(self) -> None:
        """The first octet of the RLOC."""
        self.lose(ITR, is_lost=lambda data: message_type(data) == ControlType.MAP_REPLY)
        self.network.packets.clear()
        requester = self.itr(secured_by=_KEY)
        result = outcome(requester.ask(eid_of("10.1.1.5")))
        self.network.run()
        self.lose()
        (reply,) = self.network.udp_payloads(ITR)
        at = reply.index(bytes([198, 51, 100, 1]))
        changed = reply[:at] + b"\1" + reply[at + 1 :]
        to = (ITR, requester.address.port)
        self.network.send((ETR_ONE, 4342), to, changed)
        self.network.run()
        self.assertEqual(result, [])
        self.assertEqual(requester.counters[ReplyFault.NOT_AUTHENTIC.value], 1)
        self.network.send((ETR_ONE, 4342), to, reply)
        self.network.run()
        self.assertEqual(rlocs(self.authentic(result[0])), [ETR_ONE])


class MapResolverTests(_Case):
    """In between, with keys of its own on both sides."""

    _SHARED = 'key = { id = 9, secret = "between the two" }\n'
    _TARGET = f'[[map-resolver.map-server]]\naddress = "{MAP_SERVER}"\n'

    def _resolver(self, options: str = _KEYS, target: str = "") -> None:
        self.resolver(
            f'[map-resolver]\ncontrol = ["{MAP_RESOLVER}:4342"]\n{options}{self._TARGET}{target}'
        )

    def _map_server(self, *keys: str) -> None:
        self.server(server_text(options=f"itr-keys = [{', '.join(keys)}]\n"))
        self.etr("10.1.1.0/24", server_options=f"{_NO_PROXY}\n{_LISP_SEC}")
        self.network.run(1)

    def test_it_wraps_the_one_time_key_anew(self) -> None:
        """The Map-Server does not know the ITR's key."""
        self._map_server('{ id = 9, secret = "between the two" }')
        self._resolver(target=self._SHARED)
        answer = self.authentic(self.ask_securely(to=MAP_RESOLVER))
        self.assertEqual(answer.source[0], bytes([198, 51, 100, 1]))

    def test_without_keys_it_passes_them_on(self) -> None:
        """ITR and Map-Server share theirs."""
        self._map_server('{ id = 5, secret = "secret of the ITRs" }')
        self._resolver(options="")
        self.assertEqual(rlocs(self.authentic(self.ask_securely(to=MAP_RESOLVER))), [ETR_ONE])

    def test_together_with_a_map_server_the_keys_of_both_count(self) -> None:
        """Those of [map-resolver] for what the Map-Server has, too."""
        self.server(server_text(site()) + f"[map-resolver]\n{_KEYS}")
        self.etr("10.1.1.0/24")
        self.network.run(1)
        self.assertEqual(rlocs(self.authentic(self.ask_securely())), [ETR_ONE])

    def test_what_no_map_server_has_is_denied_by_the_resolver(self) -> None:
        """Signed as well, or the ITR could not believe it."""
        self._map_server('{ id = 9, secret = "between the two" }')
        self.resolver(
            f'[map-resolver]\ncontrol = ["{MAP_RESOLVER}:4342"]\n{_KEYS}{self._TARGET}'
            f'{self._SHARED}[[map-resolver.map-server.eid-prefix]]\nprefix = "10.1.0.0/16"\n'
        )
        answer = self.authentic(self.ask_securely("10.2.0.1", MAP_RESOLVER))
        self.assertEqual(negative(answer), ("10.2.0.0/15", 15, _NATIVELY))

    def test_another_key_under_the_id_is_told_of_an_authentication_failure(self) -> None:
        """And not that there is no such site."""
        self._resolver(target='[[map-resolver.map-server.eid-prefix]]\nprefix = "10.1.0.0/16"\n')
        key = Key(5, AlgorithmId.HMAC_SHA_256_128, b"another")
        failure = self.ask_securely("10.2.0.1", MAP_RESOLVER, key)
        self.assertIs(failure.fault, ReplyFault.UNSECURED)
        (reply,) = self.network.udp_payloads(ITR)
        self.assertEqual(decode_map_reply(reply).records[0].action, Action.DROP_AUTH_FAILURE)


class LigTests(_Case):
    """``lispmsrt lig --lisp-sec-key-file``."""

    def test_it_tells_what_is_authentic(self) -> None:
        """In words and in JSON; the exit codes are as ever."""
        self.server(server_text(options=_KEYS))
        self.etr("10.1.1.0/24", server_options=f"{_NO_PROXY}\n{_LISP_SEC}")
        self.network.run(1)
        requesters = [self.itr(secured_by=_KEY) for _ in range(2)]
        for requester, is_json in zip(requesters, (False, True), strict=True):
            requester.stopService()
            self.services.remove(requester)
            asker = Asker(requester, eid_of("10.1.1.5"), Form.ENCAPSULATED, is_json=is_json)
            with redirect_stdout(StringIO()) as output:
                ended = outcome(Deferred.fromCoroutine(asker.ask()))
                self.network.run()
            self.assertEqual(ended, [0])
            if is_json:
                said = json.loads(output.getvalue())
                self.assertEqual((said["answer"], said["secured"]), ("mapping", True))
                self.assertIs(said["etr_cannot_sign"], False)
            else:
                self.assertIn(f"from {ETR_ONE}:4342 after 0.0 ms, authentic", output.getvalue())
