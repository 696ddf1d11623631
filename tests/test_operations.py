"""What an operator may do to running roles, on a network in memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Protocol
from twisted.logger import capturedLogs, formatEvent

from lispmsrt import Etr, RegistrationRejected
from lispmsrt.config import ConfigError, MappingConfig
from lispmsrt.services import operations as module
from lispmsrt.services.operations import (
    PATIENCE,
    NoSuchMappingError,
    NoSuchSessionError,
    NotConfiguredError,
    NothingToReloadError,
    NotThisRoleError,
    Operations,
    RefreshRequest,
    TooManyError,
)
from lispmsrt.session.base import CloseReason
from lispmsrt.wire.reliable_transport import RefreshScope, RegistrationRefresh
from tests.rim import Listener, mapping, outcome
from tests.service_ground import (
    ETR_ONE,
    ETR_TWO,
    MAP_SERVER,
    MAP_SERVER_TWO,
    Ground,
    eid_of,
    server_text,
    site,
)

_TWO_SITES = (
    site("campus", "10.1.0.0/16", "7 10.7.0.0/16"),
    site("branch", "10.2.0.0/16", "2001:db8:2::/48"),
)


def _mapping(eid: str, rloc: str = ETR_ONE, **more: Any) -> MappingConfig:
    return MappingConfig.model_validate({"eid_prefix": eid, "locators": ({"rloc": rloc},), **more})


class ClearTests(Ground):
    """clear_sessions()."""

    def test_all_of_an_address_one_port_or_one_id(self) -> None:
        """What is not named stays up."""
        server = self.server()
        self.etr("10.1.1.0/24", host=ETR_ONE)
        self.etr("10.1.2.0/24", host=ETR_TWO)
        self.network.run(1)
        operations = Operations(server, None)
        other = server.sessions[1]
        for how in ("address", "address and port", "id"):
            (named,) = (one for one in server.sessions if one is not other)
            texts = {"address": ETR_ONE, "address and port": named.peer, "id": str(named.id)}
            self.assertEqual(operations.clear_sessions(texts[how]), 1, how)
            self.assertIs(named.close_reason, CloseReason.CLEARED)
            self.network.run(8)
            self.assertEqual(len(server.sessions), 2, "it comes back")
            self.assertIn(other, server.sessions)

    def test_ipv6_addresses_need_no_brackets(self) -> None:
        """However they are written."""
        text = server_text(host="2001:db8::1").replace('"2001:db8::1:4342"', '"[2001:db8::1]:4342"')
        server = self.server(text.replace("=2001:db8::1", r"=2001\\:db8\\:\\:1"))
        host = "2001:db8:51::1"
        self.etr("10.1.1.0/24", host=host, map_servers=("[2001:db8::1]",))
        self.network.run(1)
        operations = Operations(server, None)
        self.assertEqual(len(server.sessions), 1)
        self.assertEqual(operations.clear_sessions("2001:0db8:51::0001"), 1)

    def test_ipv4_that_came_to_a_socket_of_both_families(self) -> None:
        """Is named, shown and logged as IPv4."""
        connect = self.network.connect
        self.patch(
            self.network,
            "connect",
            lambda protocol, host, port, source: connect(protocol, host, port, f"::ffff:{source}"),
        )
        server = self.server()
        with capturedLogs() as events:
            self.etr("10.1.1.0/24", host=ETR_ONE)
            self.network.run(1)
            self.network.connect(Protocol(), MAP_SERVER, 4342, "203.0.113.9")
        (session,) = server.sessions
        self.assertEqual(session.peer.partition(":")[0], ETR_ONE)
        self.assertEqual(session.local, f"{MAP_SERVER}:4342")
        self.assertNotIn("::ffff", " ".join(filter(None, map(formatEvent, events))))
        self.assertEqual(Operations(server, None).clear_sessions(ETR_ONE), 1)

    def test_nobody_is_named(self) -> None:
        """NoSuchSessionError, with a sentence."""
        operations = Operations(self.server(), self.etr("10.1.1.0/24"))
        self.network.run(1)
        for text in ("", "5", "²", "192.0.2.77", "192.0.2.77:80", "rubbish", "[::1]:x"):
            with self.assertRaises(NoSuchSessionError) as caught:
                operations.clear_sessions(text)
            self.assertEqual(caught.exception.args, (f"there is no session {text}",))

    def test_a_closed_session_is_not_cleared_again(self) -> None:
        """It is on its way out."""
        server = self.server()
        self.etr("10.1.1.0/24")
        self.network.run(1)
        operations = Operations(server, None)
        operations.clear_sessions(ETR_ONE)
        self.assertRaises(KeyError, operations.clear_sessions, ETR_ONE)

    def test_an_etr_comes_back_by_itself(self) -> None:
        """Through UDP, after its session was cleared on the Map-Server."""
        listener = Listener()
        server = self.server()
        etr = self.etr("10.1.1.0/24", listener=listener)
        self.network.run(1)
        registers = etr.links[0].control.counters["Map-Registers out"]
        Operations(server, None).clear_sessions(ETR_ONE)
        self.network.run()
        self.assertEqual((server.sessions, len(server.database)), ([], 1))
        (lost,) = server.database.registrations()
        self.assertIsNotNone(lost.expires)
        self.network.run(8)
        self.assertEqual(listener.names(), ["up", "down", "up"])
        self.assertEqual(etr.links[0].control.counters["Map-Registers out"], registers + 1)
        (kept,) = server.database.registrations()
        self.assertIsNone(kept.expires)

    def test_an_etr_clears_its_own_session(self) -> None:
        """By the Map-Server's address, with and without the port; by the id."""
        server = self.server()
        etr = self.etr("10.1.1.0/24")
        self.network.run(1)
        operations = Operations(None, etr)
        for number, text in enumerate((MAP_SERVER, f"{MAP_SERVER}:4342", "3"), 1):
            session = etr.links[0].session
            assert session is not None
            self.assertEqual(session.id, number)
            self.assertEqual(operations.clear_sessions(text), 1)
            self.assertIs(session.close_reason, CloseReason.CLEARED)
            self.network.run(8)
            self.assertEqual(len(server.sessions), 1)

    def test_the_map_servers_ids_come_first(self) -> None:
        """Where a process has both roles, a number means one session only."""
        server, etr = self.server(), self.etr("10.1.1.0/24")
        self.network.run(1)
        session = etr.links[0].session
        assert session is not None
        self.assertEqual(server.sessions[0].id, session.id)
        self.assertEqual(Operations(server, etr).clear_sessions("1"), 1)
        self.assertIsNone(session.close_reason)


class RefreshTests(Ground):
    """refresh()."""

    def setUp(self) -> None:
        """Two sites with an ETR each."""
        super().setUp()
        self.map_server = self.server(server_text(*_TWO_SITES))
        self.campus = self.etr("10.1.1.0/24", "10.1.2.0/24", host=ETR_ONE)
        self.branch = self.etr("10.2.1.0/24", host=ETR_TWO)
        self.network.run(1)
        self.operations = Operations(self.map_server, None)

    def asked(self, **request: Any) -> tuple[int, dict[str, int]]:
        """Refresh; return how many sessions were asked, and Registrations that came by ETR."""
        before = [self._sent(etr) for etr in (self.campus, self.branch)]
        count = self.operations.refresh(RefreshRequest(**request))
        self.network.run()
        after = [self._sent(etr) for etr in (self.campus, self.branch)]
        names = ("campus", "branch")
        sent = {name: b - a for name, a, b in zip(names, before, after, strict=True) if b > a}
        return count, sent

    def _sent(self, etr: Etr) -> int:
        session = etr.links[0].session
        assert session is not None
        return session.counters["messages out"]

    def test_everything(self) -> None:
        """Every session is asked, and everything comes again."""
        self.assertEqual(self.asked(), (2, {"campus": 2, "branch": 1}))

    def test_a_site(self) -> None:
        """Nobody else is asked."""
        self.assertEqual(self.asked(scope="site", site="campus"), (1, {"campus": 2}))

    def test_an_instance(self) -> None:
        """Those whose site has EID-prefixes there are asked; what is registered there comes."""
        self.assertEqual(self.asked(scope="instance", instance_id=7), (1, {}))
        self.register(self.campus, "10.7.1.0/24", instance_id=7)
        self.assertEqual(self.asked(scope="instance", instance_id=7), (1, {"campus": 1}))
        self.assertEqual(
            self.asked(scope="instance", instance_id=0), (2, {"campus": 2, "branch": 1})
        )

    def test_an_eid_prefix(self) -> None:
        """Itself and what lies inside, of those whose site's EID-prefixes overlap with it."""
        asked = self.asked
        self.assertEqual(asked(scope="eid", eid_prefix="10.1.1.0/24"), (1, {"campus": 1}))
        self.assertEqual(asked(scope="eid", eid_prefix="10.1.0.0/22"), (1, {"campus": 2}))
        self.assertEqual(
            asked(scope="eid", eid_prefix="10.0.0.0/8"), (2, {"campus": 2, "branch": 1})
        )
        self.assertEqual(asked(scope="eid", eid_prefix="10.7.1.0/24", instance_id=7), (1, {}))

    def test_a_name(self) -> None:
        """Names match whole."""
        name = '[[site.eid-prefix]]\nprefix = "name:printer"\n'
        self.reload(self.map_server, *_TWO_SITES, name)
        asked = self.asked
        self.assertEqual(asked(scope="eid", eid_prefix="name:printer"), (1, {}))
        self.register(self.branch, "name:printer")
        self.assertEqual(asked(scope="eid", eid_prefix="name:printer"), (1, {"branch": 1}))
        with self.assertRaises(ValueError):
            asked(scope="eid", eid_prefix="name:print")

    def test_a_session_that_is_being_closed_is_not_asked(self) -> None:
        """It could not answer."""
        self.operations.clear_sessions(ETR_ONE)
        self.assertEqual(self.operations.refresh(RefreshRequest()), 1)

    def test_only_what_was_rejected(self) -> None:
        """The rest stays as it is."""
        self.assertEqual(self.asked(rejected_only=True), (2, {}))
        outcome(self.campus.register(mapping("192.0.2.0/24", ETR_ONE)))
        self.network.run()
        self.assertEqual(self.asked(rejected_only=True), (2, {"campus": 1}))

    def test_what_is_not_configured_is_said(self) -> None:
        """One sentence, and nobody is asked."""
        for request, text in (
            (RefreshRequest("site", "nobody"), "there is no site 'nobody' in the configuration"),
            (
                RefreshRequest("instance", instance_id=8),
                "there is no EID-prefix of instance ID 8 in the configuration",
            ),
            (
                RefreshRequest("eid", eid_prefix="192.0.2.0/24", instance_id=7),
                "there is no EID-prefix that has to do with [7] 192.0.2.0/24 in the configuration",
            ),
            (
                RefreshRequest("eid", eid_prefix="name:printer"),
                "there is no EID-prefix that has to do with name:printer in the configuration",
            ),
        ):
            with self.assertRaises(NotConfiguredError) as caught:
                self.operations.refresh(request)
            self.assertEqual(str(caught.exception), text)

    def test_a_request_is_checked(self) -> None:
        """ValueError with one sentence."""
        for values, text in (
            (
                {"scope": "all"},
                "there is no scope 'all'; there are everything, site, instance, eid",
            ),
            ({"scope": "site"}, "scope site needs a site"),
            ({"scope": "instance"}, "scope instance needs an instance-id"),
            ({"scope": "eid", "instance_id": 3}, "scope eid needs an eid-prefix"),
            ({"site": "campus"}, "scope everything takes no site"),
            ({"scope": "site", "site": "x", "instance_id": 0}, "scope site takes no instance-id"),
            (
                {"scope": "instance", "instance_id": 1 << 32},
                "instance ID 4294967296 does not fit 32 bits",
            ),
            (
                {"scope": "eid", "eid_prefix": "10.1.1.1/24"},
                "EID-prefix '10.1.1.1/24' has host bits set",
            ),
        ):
            with self.assertRaises(ValueError) as caught:
                RefreshRequest(**values)
            self.assertEqual(str(caught.exception), text)

    def test_messages(self) -> None:
        """The narrowest scope that fits."""
        request = RefreshRequest("instance", instance_id=7, rejected_only=True)
        message = request.message()
        self.assertEqual((message.scope, message.rejected_only), (RefreshScope.INSTANCE, True))
        request = RefreshRequest("eid", eid_prefix="10.1.0.0/16", instance_id=7)
        expected = RegistrationRefresh(RefreshScope.COVERED, False, eid_of("10.1.0.0/16", 7))
        self.assertEqual(request.message(), expected)


class ReloadTests(Ground):
    """reload()."""

    def test_the_function_is_called_and_waited_for(self) -> None:
        """It is said what was reloaded."""
        server = self.server(server_text(*_TWO_SITES))
        judged: Deferred[None] = Deferred()
        result = outcome(Operations(server, None, lambda: judged).reload())
        self.assertEqual(result, [])
        judged.callback(None)
        self.assertEqual(result, ["sites and keys of the Map-Server: 2 sites"])

    def test_what_needs_a_restart_is_told(self) -> None:
        """Each section of the file that differs from what runs."""
        server = self.server()
        for changed, words in (
            ((), "1 site"),
            (("etr",), "1 site; [etr] has changed too and needs a restart"),
            (("map-server", "etr"), "[map-server] and [etr] have changed too and need a restart"),
        ):
            operations = Operations(server, None, lambda: None, lambda found=changed: found)
            (said,) = outcome(operations.reload())
            self.assertTrue(said.endswith(words), said)

    def test_nothing_to_wait_for(self) -> None:
        """None will do."""
        operations = Operations(self.server(), None, lambda: None)
        self.assertEqual(outcome(operations.reload()), ["sites and keys of the Map-Server: 1 site"])

    def test_a_wrong_file(self) -> None:
        """The mistakes are passed on."""

        def fail() -> None:
            raise ConfigError("campus.toml", ["site 1: no name"])

        (failure,) = outcome(Operations(self.server(), None, fail).reload())
        self.assertIsInstance(failure, ConfigError)

    def test_where_nothing_is_reloaded(self) -> None:
        """It is said why, and nothing is called."""
        called: list[None] = []

        def reload() -> Deferred[None]:
            called.append(None)
            return succeed(None)

        for operations, words in (
            (Operations(None, self.etr(), reload), "nothing to reload: an ETR reads its file at"),
            (Operations(None, None, reload), "nothing to reload: a Map-Resolver reads"),
            (Operations(self.server(), None), "nothing to reload: this Map-Server was not"),
        ):
            (failure,) = outcome(operations.reload())
            self.assertIsInstance(failure, NothingToReloadError)
            self.assertIn(words, str(failure))
        self.assertEqual(called, [])


class MappingTests(Ground):
    """register() and withdraw()."""

    def test_register_and_withdraw(self) -> None:
        """Both fire with True once the Map-Server has acknowledged."""
        server, etr = self.server(), self.etr()
        self.network.run(1)
        operations = Operations(None, etr)
        result = outcome(operations.register(_mapping("10.1.5.0/24")))
        self.assertEqual(result, [])
        self.network.run(1)
        self.assertEqual((result, len(server.database), etr.mapping_count), ([True], 1, 1))
        result = outcome(operations.register(_mapping("10.1.5.0/24", ttl=5)))
        self.network.run(1)
        (registered,) = server.database.registrations()
        self.assertEqual((result, registered.decode().ttl), ([True], 5))
        result = outcome(operations.withdraw(eid_of("10.1.5.0/24")))
        self.network.run(1)
        self.assertEqual((result, len(server.database), etr.mapping_count), ([True], 0, 0))

    def test_a_configured_mapping_can_be_withdrawn(self) -> None:
        """Until another process reads the file."""
        server, etr = self.server(), self.etr("10.1.1.0/24")
        self.network.run(1)
        result = outcome(Operations(None, etr).withdraw(eid_of("10.1.1.0/24")))
        self.network.run(1)
        self.assertEqual((result, len(server.database)), ([True], 0))

    def test_what_is_refused(self) -> None:
        """RegistrationRejected; the mapping stays, and is registered once it is welcome."""
        server, etr = self.server(), self.etr("10.1.1.0/24")
        self.network.run(1)
        (failure,) = self._result(Operations(None, etr).register(_mapping("10.2.1.0/24")))
        self.assertIsInstance(failure, RegistrationRejected)
        self.reload(server, site("campus", "10.1.0.0/16", "10.2.0.0/16"))
        self.network.run(1)
        self.assertEqual(len(server.database), 2)

    def _result(self, deferred: Deferred[Any]) -> list[Any]:
        result = outcome(deferred)
        self.network.run(1)
        return result

    def test_what_is_not_registered_can_not_be_withdrawn(self) -> None:
        """NoSuchMappingError with a sentence; likewise while it is withdrawn."""
        self.server()
        etr = self.etr("10.1.1.0/24")
        self.network.run(1)
        operations = Operations(None, etr)
        (failure,) = outcome(operations.withdraw(eid_of("10.9.0.0/16", 3)))
        self.assertIsInstance(failure, NoSuchMappingError)
        self.assertEqual(failure.args, ("[3] 10.9.0.0/16 is not registered",))
        first = outcome(operations.withdraw(eid_of("10.1.1.0/24")))
        (second,) = outcome(operations.withdraw(eid_of("10.1.1.0/24")))
        self.assertIsInstance(second, KeyError)
        self.network.run(1)
        self.assertEqual(first, [True])

    def test_a_map_server_that_is_away(self) -> None:
        """False after a while; it is registered when the Map-Server is there."""
        etr = self.etr()
        operations = Operations(None, etr)
        result = outcome(operations.register(_mapping("10.1.5.0/24")))
        self.network.run(PATIENCE - 0.5)
        self.assertEqual(result, [])
        self.network.run(1)
        self.assertEqual(result, [False])
        self.assertEqual(etr.links[0]._registering, {})
        server = self.server()
        self.network.run(120)
        self.assertEqual(len(server.database), 1)

    def test_one_of_two_map_servers_is_away(self) -> None:
        """That is not all."""
        server = self.server()
        etr = self.etr(map_servers=(MAP_SERVER, MAP_SERVER_TWO))
        self.network.run(1)
        result = outcome(Operations(None, etr).register(_mapping("10.1.5.0/24")))
        self.network.run(PATIENCE + 1)
        self.assertEqual((result, len(server.database)), ([False], 1))

    def test_something_else_is_meant_meanwhile(self) -> None:
        """The earlier action was in vain."""
        etr = self.etr()
        operations = Operations(None, etr)
        result = outcome(operations.register(_mapping("10.1.5.0/24")))
        outcome(operations.withdraw(eid_of("10.1.5.0/24")))
        self.network.run()
        self.assertEqual(result, [False])
        self.network.run(PATIENCE + 1)

    def test_actions_that_wait_are_limited(self) -> None:
        """Whoever is first is served; the others are told, and nothing is registered for them."""
        self.patch(module, "MAX_WAITING", 2)
        etr = self.etr()
        operations = Operations(None, etr)
        for number in (1, 2):
            self.assertEqual(outcome(operations.register(_mapping(f"10.1.{number}.0/24"))), [])
        (failure,) = outcome(operations.register(_mapping("10.1.3.0/24")))
        self.assertIsInstance(failure, TooManyError)
        self.assertEqual(etr.mapping_count, 2)
        self.network.run(PATIENCE + 1)
        self.assertEqual(outcome(operations.register(_mapping("10.1.3.0/24"))), [])
        self.network.run(PATIENCE + 1)

    def test_mappings_are_limited(self) -> None:
        """What is there already may be changed."""
        self.patch(module, "MAX_MAPPINGS", 2)
        self.server()
        etr = self.etr("10.1.1.0/24", "10.1.2.0/24")
        self.network.run(1)
        operations = Operations(None, etr)
        (failure,) = outcome(operations.register(_mapping("10.1.3.0/24")))
        self.assertIsInstance(failure, TooManyError)
        self.assertEqual(self._result(operations.register(_mapping("10.1.2.0/24", ttl=9))), [True])


class RoleTests(Ground):
    """A role that is not there."""

    def test_it_is_said(self) -> None:
        """NotThisRoleError."""
        operations = Operations(None, None)
        with self.assertRaises(NotThisRoleError) as caught:
            operations.refresh(RefreshRequest())
        self.assertEqual(str(caught.exception), "this lispmsrt is no Map-Server")
        for deferred in (
            operations.register(_mapping("10.1.1.0/24")),
            operations.withdraw(eid_of("10.1.1.0/24")),
        ):
            (failure,) = outcome(deferred)
            self.assertIsInstance(failure, NotThisRoleError)
            self.assertEqual(str(failure), "this lispmsrt is no ETR")
        self.assertRaises(KeyError, operations.clear_sessions, "1")
