"""Ask a Map-Resolver for the mapping of an EID, and show it (like lig, RFC 6835).

The exit code is 0 for a mapping, 1 for a negative answer, 2 where there was none or the question
can't be asked; for several EIDs the greatest of these. Those are :mod:`lispmsrt.cli.lig_many`.
"""

from __future__ import annotations

import argparse
import json
import os

from twisted.internet.selectreactor import SelectReactor

from lispmsrt.cli import lig_subscribe
from lispmsrt.cli.lig_eids import read_eids
from lispmsrt.cli.lig_keys import key_from_file
from lispmsrt.cli.lig_many import ManyAsker
from lispmsrt.cli.lig_report import (
    answer_json,
    answer_lines,
    complain,
    eid_text,
    remedy_text,
)
from lispmsrt.cli.one_shot import run_once
from lispmsrt.clock import MonotonicClock
from lispmsrt.config import SocketAddress
from lispmsrt.services.listening import ListenError
from lispmsrt.services.requester import (
    Answer,
    Form,
    NoAnswerError,
    Pace,
    ReplyFault,
    Requester,
)
from lispmsrt.sockets import pack_address
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.authentication import AlgorithmId, Key

__all__ = ["Asker", "add_arguments", "run"]

_MAPPING, _NEGATIVE, _NOTHING = 0, 1, 2

_RESOLVER_VARIABLE = "LISP_MAP_RESOLVER"
"""The classic lig reads it, too."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the question."""
    parser.add_argument(
        "eids", metavar="EID", nargs="*", help="an address, address/length, or name:NAME"
    )
    parser.add_argument(
        "--file", metavar="EIDS", help="ask for the EIDs in this file, too: one a line; - is stdin"
    )
    parser.add_argument("--instance-id", type=int, default=0, metavar="N", help="default: 0")
    parser.add_argument(
        "--resolver",
        metavar="ADDR[:PORT]",
        default=os.environ.get(_RESOLVER_VARIABLE, "127.0.0.1"),
        help=f"whom to ask (default: ${_RESOLVER_VARIABLE}, or 127.0.0.1)",
    )
    _add_source_arguments(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--plain", action="store_true", help="a Map-Request that is not in an ECM: to an ETR"
    )
    form.add_argument("--probe", action="store_true", help="an RLOC-probe: to an ETR's RLOC")
    parser.add_argument(
        "--json", action="store_true", help="print JSON: an object, or one per EID or publication"
    )
    _add_pace_arguments(parser)
    _add_security_arguments(parser)
    lig_subscribe.add_arguments(parser)


def _add_source_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--source",
        metavar="RLOC",
        help="address to ask from, where answers go (default: what leads to the resolver)",
    )
    parser.add_argument(
        "--port", type=int, default=0, metavar="N", help="UDP port to ask from (default: any)"
    )


def _add_pace_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--count", type=int, default=3, metavar="N", help="Map-Requests to send (default: 3)"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="wait for an answer to each (default: 1)",
    )


def _add_security_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("authentic answers (LISP-SEC, RFC 9303)")
    group.add_argument(
        "--lisp-sec-key-file",
        metavar="FILE",
        help="the key shared with the Map-Resolver: believe only what it verifies",
    )
    group.add_argument("--lisp-sec-key-id", type=int, default=0, metavar="N", help="default: 0")


def run(arguments: argparse.Namespace) -> int:
    """Ask, and print the answer; return the exit code."""
    try:
        eids = _eids(arguments)
        resolver = SocketAddress.from_text(arguments.resolver)
        _check(arguments)
        subscription = lig_subscribe.parse(arguments)
        key = _security_key(arguments)
    except ValueError as failure:
        return complain(str(failure))
    reactor = SelectReactor()
    if subscription is not None:
        follower = lig_subscribe.Follower(reactor, resolver, eids[0], subscription, arguments)
        return run_once(reactor, follower.follow)
    clock = MonotonicClock(reactor)
    requester = Requester(
        reactor,
        resolver,
        source=arguments.source,
        port=arguments.port,
        pace=Pace(interval=arguments.timeout, tries=arguments.count),
        secured_by=key,
        clock=clock,
    )
    form = Form.PROBE if arguments.probe else Form.PLAIN if arguments.plain else Form.ENCAPSULATED
    if _are_many(arguments):
        many = ManyAsker(requester, clock, eids, form, is_json=arguments.json)
        return run_once(reactor, many.ask)
    asker = Asker(requester, eids[0], form, is_json=arguments.json)
    return run_once(reactor, asker.ask)


def _are_many(arguments: argparse.Namespace) -> bool:
    return len(arguments.eids) > 1 or arguments.file is not None


def _eids(arguments: argparse.Namespace) -> list[EidPrefix]:
    """Return what is asked for; ValueError says what is wrong."""
    if arguments.subscribe and _are_many(arguments):
        raise ValueError("--subscribe takes one EID-prefix")
    eids = [EidPrefix.from_eid_text(text, arguments.instance_id) for text in arguments.eids]
    if arguments.file is not None:
        eids += read_eids(arguments.file, arguments.instance_id)
    if not eids:
        raise ValueError("which EID? Name one, or a file of EIDs with --file")
    return eids


class Asker:
    """One question, from its first Map-Request to what is printed."""

    def __init__(self, requester: Requester, eid: EidPrefix, form: Form, *, is_json: bool) -> None:
        self._requester = requester
        self._eid = eid
        self._form = form
        self._is_json = is_json

    async def ask(self) -> int:
        """Ask, and print the answer; return the exit code."""
        requester = self._requester
        try:
            requester.startService()
        except ListenError as failure:
            return complain(str(failure))
        source = requester.address.host
        if not self._is_json:
            print(f"Asking {requester.resolver} for {eid_text(self._eid)} from {source}")
        answer: Answer | None = None
        try:
            answer = await requester.ask(self._eid, self._form)
        except NoAnswerError as failure:
            complain(self._remedy(source, failure.fault))
        finally:
            await requester.stopService()
        self._show(source, answer)
        if answer is None:
            return _NOTHING
        return _NEGATIVE if answer.is_negative else _MAPPING

    def _show(self, source: str, answer: Answer | None) -> None:
        if self._is_json:
            print(json.dumps(answer_json(self._eid, self._requester.resolver, source, answer)))
        elif answer is not None:
            print("\n".join(answer_lines(self._eid, answer)))

    def _remedy(self, source: str, fault: ReplyFault | None) -> str:
        requester = self._requester
        return remedy_text(requester.resolver, source, fault, requester.counters)


def _security_key(arguments: argparse.Namespace) -> Key | None:
    """Return the key for LISP-SEC, if it is wanted; ValueError says what is wrong."""
    if arguments.lisp_sec_key_file is None:
        return None
    if arguments.plain or arguments.probe:
        raise ValueError("LISP-SEC needs an ECM: it does not go with --plain and --probe")
    if arguments.subscribe:
        raise ValueError("LISP-SEC verifies answers, not subscriptions: those have --key-file")
    return key_from_file(
        arguments.lisp_sec_key_file,
        arguments.lisp_sec_key_id,
        "--lisp-sec-key-id",
        # It wraps keys only; that has one algorithm.
        AlgorithmId.HMAC_SHA_256_128,
    )


def _check(arguments: argparse.Namespace) -> None:
    """Raise ValueError for what can't be."""
    if not 1 <= arguments.count <= 100:
        raise ValueError("--count has 1 to 100 Map-Requests")
    if not 0.1 <= arguments.timeout <= 60:
        raise ValueError("--timeout has 0.1 to 60 seconds")
    if not 0 <= arguments.port <= 65535:
        raise ValueError(f"--port {arguments.port} is no port number")
    if arguments.source is not None and pack_address(arguments.source) is None:
        raise ValueError(f"{arguments.source!r} is no IPv4 or IPv6 address")
