"""The configuration file: what it means, and one sentence with its place for every mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt import load_config, parse_config
from lispmsrt.config import (
    DEFAULT_PORTS,
    Config,
    ConfigError,
    EtrConfig,
    MapServerConfig,
    SocketAddress,
    make_record,
    make_sites,
    transport_name,
    with_default_port,
)
from lispmsrt.config.places import locate
from lispmsrt.control.arming import ArmoryLimits
from lispmsrt.control.etr import EtrTimers, SessionMode
from lispmsrt.control.nonces import NonceCheck
from lispmsrt.session.limits import SessionLimits
from lispmsrt.sockets import TcpOptions
from lispmsrt.wire.authentication import AlgorithmId, Coverage
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.records import Action
from tests.builders import ip

_SECRET = "campus secret"

_MAP_SERVER = """\
[map-server]
control = ["127.0.0.1:4342"]                              # UDP sockets of the LISP control plane
reliable-transport = ["tcp:4342:interface=127.0.0.1"]     # Twisted server endpoint strings

[[site]]
name = "campus"
keys = [{ id = 0, algorithm = "hmac-sha-256-128", secret = "campus secret" }]   # or secret-file
allowed-rlocs = ["127.0.0.0/8"]                           # optional
  [[site.eid-prefix]]
  prefix = "10.1.0.0/16"
  instance-id = 0
  accept-more-specifics = true
"""

_ETR = """\
[etr]
control = "127.0.0.2:4342"
xtr-id = "000102030405060708090a0b0c0d0e0f"               # made once, kept in state-dir if absent
site-id = 1

[[etr.map-server]]
address = "127.0.0.1:4342"
key = { id = 0, algorithm = "hmac-sha-256-128", secret = "campus secret" }
session = "auto"                                          # off | auto | always
transports = ["tcp:127.0.0.1:4342:bindAddress=127.0.0.2"] # tried in this order

[[etr.mapping]]
eid-prefix = "10.1.1.0/24"
instance-id = 0
ttl = 1440
locators = [{ rloc = "127.0.0.2", priority = 1, weight = 100 }]
"""


def _map_server(text: str) -> MapServerConfig:
    config = parse_config(text).map_server
    assert config is not None
    return config


def _etr(text: str) -> EtrConfig:
    config = parse_config(text).etr
    assert config is not None
    return config


_SMALL_ETR = """\
[etr]
xtr-id = "000102030405060708090a0b0c0d0e0f"
[[etr.map-server]]
address = "192.0.2.1"
key = { secret = "s" }
"""


class SampleTests(SynchronousTestCase):
    """The keys that are fixed."""

    def test_map_server_and_site(self) -> None:
        """Every key of the sample."""
        config = parse_config(_MAP_SERVER)
        server = config.map_server
        assert server is not None
        self.assertIsNone(config.etr)
        self.assertEqual([str(address) for address in server.control], ["127.0.0.1:4342"])
        self.assertEqual(server.reliable_transport, ("tcp:4342:interface=127.0.0.1",))
        (prefix,) = make_sites(config.site).prefixes
        site = prefix.site
        self.assertEqual((site.name, len(site.keys), len(site.allowed_rlocs)), ("campus", 1, 1))
        self.assertEqual(site.keys[0].key_id, 0)
        self.assertEqual(site.keys[0].algorithm_id, AlgorithmId.HMAC_SHA_256_128)
        self.assertEqual((prefix.instance_id, prefix.length), (0, 16))
        self.assertTrue(prefix.accept_more_specifics)

    def test_etr(self) -> None:
        """Every key of the sample."""
        config = _etr(_ETR)
        self.assertEqual(str(config.control), "127.0.0.2:4342")
        self.assertEqual(config.xtr_id, bytes(range(16)))
        self.assertEqual(config.site_id, 1)
        (server,) = config.map_servers
        self.assertEqual(str(server.address), "127.0.0.1:4342")
        self.assertIs(server.session, SessionMode.AUTO)
        self.assertEqual(
            server.transport_strings(config.control),
            ["tcp:127.0.0.1:4342:bindAddress=127.0.0.2"],
        )
        record = make_record(config.mappings[0])
        self.assertEqual((str(record.eid), record.ttl), ("10.1.1.0/24", 1440))
        (locator,) = record.locators
        self.assertEqual(
            (str(locator.rloc), locator.priority, locator.weight), ("127.0.0.2", 1, 100)
        )
        self.assertTrue(locator.local and locator.reachable)

    def test_both_roles_in_one_file(self) -> None:
        """And the samples in tap/ are what they should be."""
        config = parse_config(_MAP_SERVER + _ETR)
        self.assertTrue(config.map_server and config.etr)
        for name in ("map-server", "etr"):
            load_config(Path(__file__).parent.parent / "tap" / f"{name}.toml")

    def test_it_is_frozen(self) -> None:
        """All the way down."""
        config = parse_config(_MAP_SERVER + _ETR)

        def walk(value: Any) -> None:
            if isinstance(value, BaseModel):
                for name in type(value).model_fields:
                    self.assertRaises(ValidationError, setattr, value, name, None)
                    walk(getattr(value, name))
            elif isinstance(value, tuple):
                for one in value:
                    walk(one)
            else:
                self.assertNotIsInstance(value, (list, dict, set))

        walk(config)

    def test_the_same_file_is_the_same_configuration(self) -> None:
        """A reload can tell whether anything has changed."""
        self.assertEqual(parse_config(_ETR), parse_config(_ETR))
        self.assertNotEqual(parse_config(_ETR), parse_config(_ETR.replace("1440", "1441")))


class DefaultTests(SynchronousTestCase):
    """What is meant where nothing is said."""

    def test_map_server(self) -> None:
        """Every option that docs/draft.rst names."""
        config = _map_server("[map-server]")
        self.assertEqual([str(address) for address in config.control], ["0.0.0.0:4342"])
        self.assertEqual(config.reliable_transport, ("tcp:4342",))
        self.assertEqual(config.receive_buffer, 4 << 20)
        self.assertEqual(config.session_limits(), SessionLimits())
        self.assertEqual(config.armory_limits(), ArmoryLimits())
        self.assertEqual(config.tcp.options(), TcpOptions())
        self.assertEqual(config.trusted_addresses(), [])
        self.assertIs(config.nonce_check, NonceCheck.LENIENT)
        self.assertFalse(config.notify_to_control_port)
        self.assertEqual(config.registration_timeout, 180.0)
        self.assertEqual((config.probation, config.max_registration), (30.0, 8192))

    def test_site(self) -> None:
        """The r bit is required, any RLOC allowed, more-specifics are not."""
        config = parse_config(
            '[map-server]\n[[site]]\nname = "a"\nkeys = [{ secret = "s" }]\n'
            '[[site.eid-prefix]]\nprefix = "10.0.0.0/8"\n'
        )
        (prefix,) = make_sites(config.site).prefixes
        self.assertTrue(prefix.site.require_reliable_transport_bit)
        self.assertEqual(prefix.site.allowed_rlocs, ())
        self.assertFalse(prefix.accept_more_specifics)

    def test_etr(self) -> None:
        """Proxy reply and Mapping Notifications are asked for."""
        config = _etr(_SMALL_ETR)
        self.assertEqual(str(config.control), "0.0.0.0:4342")
        self.assertEqual((config.site_id, config.state_dir, config.mappings), (0, None, ()))
        self.assertEqual(config.session_limits(), SessionLimits())
        self.assertEqual(config.timers(), EtrTimers())
        self.assertEqual((config.backoff_initial, config.backoff_maximum), (1.0, 60.0))
        self.assertEqual(config.transport_timeout, 5.0)
        (server,) = config.map_servers
        self.assertIs(server.session, SessionMode.AUTO)
        self.assertEqual(
            server.register_flags(), RegisterFlag.PROXY_REPLY | RegisterFlag.WANT_MAP_NOTIFY
        )

    def test_every_flag_of_an_etr_can_be_chosen(self) -> None:
        """P, a, T and M."""
        server = _etr(
            _SMALL_ETR + "proxy-reply = false\nmerge = true\nuse-ttl = true\n"
            "mapping-notifications = false\n"
        ).map_servers[0]
        self.assertEqual(server.register_flags(), RegisterFlag.MERGE | RegisterFlag.USE_TTL)

    def test_key(self) -> None:
        """ID 0, HMAC-SHA-256, whole message, whole digest; each can be chosen."""

        def key(text: str) -> Any:
            return _etr(_SMALL_ETR.replace('{ secret = "s" }', text)).map_servers[0].key.to_key()

        made = key('{ secret = "s" }')
        self.assertEqual((made.key_id, made.algorithm_id), (0, AlgorithmId.HMAC_SHA_256_128))
        self.assertEqual((made.default_coverage, made.sent_length), (Coverage.WHOLE_MESSAGE, 32))
        made = key('{ secret = "s", algorithm = "hmac-sha256-128+hkdf-sha256" }')
        self.assertEqual(made.default_coverage, Coverage.RECORDS)
        made = key('{ id = 9, secret = "s", mac-coverage = "records", truncate-mac = true }')
        self.assertEqual(
            (made.key_id, made.default_coverage, made.sent_length), (9, Coverage.RECORDS, 16)
        )
        made = key('{ secret = "s", algorithm = "hmac-sha-1-96", mac-coverage = "whole-message" }')
        self.assertEqual(made.algorithm_id, AlgorithmId.HMAC_SHA_1_96)
        self.assertEqual(key('{ algorithm = "none" }').algorithm_id, AlgorithmId.NONE)

    def test_mapping(self) -> None:
        """A day, no locators, no action; each action has its number."""

        def mapping(text: str) -> Any:
            config = _etr(_SMALL_ETR + f'[[etr.mapping]]\neid-prefix = "10.0.0.0/8"\n{text}')
            return make_record(config.mappings[0])

        made = mapping("")
        self.assertEqual((made.ttl, made.locators, made.action), (1440, (), Action.NO_ACTION))
        self.assertTrue(made.authoritative)
        for name, action in (
            ("natively-forward", Action.NATIVELY_FORWARD),
            ("send-map-request", Action.SEND_MAP_REQUEST),
            ("drop", Action.DROP),
        ):
            self.assertEqual(mapping(f'action = "{name}"').action, action)

    def test_ports_of_transports(self) -> None:
        """docs/draft.rst, Ports: TCP, TLS and SCTP 4342, QUIC 4343."""
        at_4342 = dict.fromkeys(("tcp", "tcp6", "tls13", "tcpmd5", "sctp"), "4342")
        self.assertEqual(DEFAULT_PORTS, {**at_4342, "quic": "4343"})
        for text, is_server, expected in (
            ("tcp", True, "tcp:4342"),
            ("tcp:interface=127.0.0.1", True, "tcp:4342:interface=127.0.0.1"),
            ("tcp:5000", True, "tcp:5000"),
            ("tcp:port=5000", True, "tcp:port=5000"),
            ("quic", True, "quic:4343"),
            ("sctp", True, "sctp:4342"),
            ("tls13:privateKey=k.pem", True, "tls13:4342:privateKey=k.pem"),
            ("unix:/run/socket", True, "unix:/run/socket"),
            ("tcp:192.0.2.1", False, "tcp:192.0.2.1:4342"),
            ("quic:192.0.2.1", False, "quic:192.0.2.1:4343"),
            (r"tcp:2001\:db8\:\:1", False, r"tcp:2001\:db8\:\:1:4342"),
            ("tcp:192.0.2.1:timeout=3", False, "tcp:192.0.2.1:4342:timeout=3"),
            ("tcp:192.0.2.1:5000", False, "tcp:192.0.2.1:5000"),
            ("tcp:host=192.0.2.1:port=5000", False, "tcp:host=192.0.2.1:port=5000"),
            ("tcp:host=192.0.2.1", False, "tcp:host=192.0.2.1:port=4342"),
        ):
            self.assertEqual(with_default_port(text, is_server=is_server), expected)

    def test_transports_without_a_host_go_to_the_map_server(self) -> None:
        """Whatever stands behind the prefix."""
        transports = (
            '["tcp", "tcp:5000", "quic:pin=ab", "sctp:port=5000", "tcp:192.0.2.9", "unix:/run/x"]'
        )
        text = _ETR.replace('["tcp:127.0.0.1:4342:bindAddress=127.0.0.2"]', transports)
        text = text.replace('address = "127.0.0.1:4342"', 'address = "[2001:db8::1]:4342"')
        etr = _etr(text.replace('control = "127.0.0.2:4342"', 'control = "0.0.0.0"'))
        self.assertEqual(
            etr.map_servers[0].transport_strings(etr.control),
            [
                r"tcp:2001\:db8\:\:1:4342",
                r"tcp:2001\:db8\:\:1:5000",
                r"quic:2001\:db8\:\:1:4343:pin=ab",
                r"sctp:2001\:db8\:\:1:port=5000",
                "tcp:192.0.2.9:4342",
                "unix:/run/x",
            ],
        )

    def test_names_of_transports(self) -> None:
        """As operators read them in the log and in views."""
        for text, name in (
            ("tcp:4342", "TCP"),
            ("tcp6:4342", "TCP"),
            ("tls13:4342", "TLS"),
            ("tcpmd5:4342", "TCP-MD5"),
            ("quic:4343", "QUIC"),
            ("sctp:4342", "SCTP"),
            ("unix:/run/socket", "UNIX"),
        ):
            self.assertEqual(transport_name(text), name)

    def test_an_etr_connects_from_its_control_address(self) -> None:
        """The Map-Server knows it by that; another bind address can be chosen."""

        def strings(control: str, line: str = "") -> list[str]:
            config = _etr(_SMALL_ETR.replace("[etr]", f'[etr]\ncontrol = "{control}"') + line)
            return config.map_servers[0].transport_strings(config.control)

        self.assertEqual(strings("192.0.2.9"), ["tcp:192.0.2.1:4342:bindAddress=192.0.2.9"])
        self.assertEqual(strings("0.0.0.0"), ["tcp:192.0.2.1:4342"])
        self.assertEqual(
            strings("192.0.2.9", 'transports = ["tcp:h:1:bindAddress=192.0.2.8", "unix:/x"]'),
            ["tcp:h:1:bindAddress=192.0.2.8", "unix:/x"],
        )
        self.assertEqual(strings("192.0.2.9", 'session = "off"'), [])
        self.assertEqual(
            strings("[2001:db8::9]:4342"), [r"tcp:192.0.2.1:4342:bindAddress=2001\:db8\:\:9"]
        )

    def test_socket_addresses(self) -> None:
        """With and without a port."""
        for text, host, port in (
            ("192.0.2.1", "192.0.2.1", 4342),
            ("192.0.2.1:", "192.0.2.1", 4342),
            ("192.0.2.1:0", "192.0.2.1", 0),
            ("2001:db8::1", "2001:db8::1", 4342),
            ("[2001:db8::1]", "2001:db8::1", 4342),
            ("[2001:db8::1]:53", "2001:db8::1", 53),
        ):
            address = SocketAddress.from_text(text)
            self.assertEqual((address.host, address.port, address.packed), (host, port, ip(host)))
            self.assertEqual(SocketAddress.from_text(str(address)), address)
            self.assertIs(SocketAddress.from_text(address), address)


class SecretTests(SynchronousTestCase):
    """Secrets never appear."""

    def test_in_no_repr_and_no_str(self) -> None:
        """Of anything that has one."""
        config = parse_config(_MAP_SERVER + _ETR)
        (prefix,) = make_sites(config.site).prefixes
        for value in (config, config.site, config.site[0].keys[0], prefix, prefix.site.keys):
            self.assertNotIn(_SECRET, repr(value) + str(value))
        self.assertNotIn(_SECRET, str(config.model_dump()) + config.model_dump_json())

    def test_in_no_error(self) -> None:
        """Whatever is wrong around it, or with it."""
        for wrong in (
            'secret = "campus secret", algorithm = "md5"',
            'secret = "campus secret", colour = 1',
            'secret = "campus secret", id = 256',
            'secret = "campus secret", secret-file = "/nowhere"',
            'secret = ["campus secret"]',
            'secrets = "campus secret"',
        ):
            text = _MAP_SERVER.replace(
                'id = 0, algorithm = "hmac-sha-256-128", secret = "campus secret"', wrong
            )
            error = self.assertRaises(ConfigError, parse_config, text)
            self.assertNotIn(_SECRET, str(error) + repr(error) + repr(error.__context__), wrong)
            self.assertIsNone(error.__cause__)

    def test_a_broken_file_does_not_show_it(self) -> None:
        """TOML that ends in the middle of it."""
        error = self.assertRaises(ConfigError, parse_config, 'secret = "campus secret')
        self.assertNotIn(_SECRET, str(error))


class SecretFileTests(SynchronousTestCase):
    """A secret in a file of its own."""

    def setUp(self) -> None:
        """Beside the configuration."""
        self.file = Path(self.mktemp())
        self.text = _MAP_SERVER.replace('secret = "campus secret"', f'secret-file = "{self.file}"')

    def test_it_is_the_secret(self) -> None:
        """One line feed at its end does not count."""
        expected = parse_config(_MAP_SERVER).site[0].keys[0].to_key()
        for content, is_same in (
            (b"campus secret", True),
            (b"campus secret\n", True),
            (b"campus secret\n\n", False),
            (b" campus secret", False),
        ):
            self.file.write_bytes(content)
            self.file.chmod(0o600)
            key = parse_config(self.text).site[0].keys[0].to_key()
            self.assertEqual(key.has_same_secret(expected), is_same, content)

    def test_one_that_is_not_there_is_told(self) -> None:
        """With its name."""
        error = self.assertRaises(ConfigError, parse_config, self.text)
        self.assertIn(f"secret-file {self.file} can't be read: No such file", str(error))


class MistakeTests(SynchronousTestCase):
    """One sentence with its place for each."""

    def _mistakes(self, text: str) -> list[str]:
        return self.assertRaises(ConfigError, parse_config, text, "file.toml").mistakes

    def _assert_line(self, text: str, old: str, new: str, *words: str) -> None:
        self.assertEqual(text.count(old), 1, old)
        wrong = text.replace(old, new)
        (mistake,) = self._mistakes(wrong)
        number = text[: text.index(old)].count("\n") + 1
        self.assertTrue(mistake.startswith(f"line {number}: "), (mistake, number, new))
        self.assertEqual(len(mistake.splitlines()), 1)
        for word in words:
            self.assertIn(word, mistake)

    def test_strings_that_do_not_check_both_ends_are_refused(self) -> None:
        """In both roles, with the remedy."""
        server = _MAP_SERVER.replace('"tcp:4342', '"ssl:4342:privateKey=k.pem')
        etr = _ETR.replace('"tcp:127.0.0.1', '"tls:127.0.0.1')
        for text in (server, etr):
            (mistake,) = self._mistakes(text)
            self.assertIn("write tls13:", mistake)

    def test_endpoints_that_stand_twice_are_refused(self) -> None:
        """The second could not be told from the first."""
        server = _MAP_SERVER.replace('4342:interface=127.0.0.1"]', '4342", "tcp"]')
        etr = _ETR.replace(':4342:bindAddress=127.0.0.2"]', '", "tcp:127.0.0.1"]')
        for text, option in ((server, "reliable-transport"), (etr, "transports")):
            (mistake,) = self._mistakes(text)
            self.assertRegex(mistake, f"{option} has 'tcp:.*' twice")

    def test_xtrs_and_the_certificates_that_they_must_show(self) -> None:
        """Names in any case, or pins."""
        pin = "sha256:" + "AB" * 32
        xtr = f'[[site.xtr]]\nxtr-id = "{"0f" * 16}"\n'
        xtr += f'certificates = ["ETR1.Example.net", "{pin}", "2001:DB8:0::1"]\n'
        (site,) = parse_config(_MAP_SERVER + xtr).site
        shown = {"etr1.example.net", pin.lower(), "2001:db8::1"}
        self.assertEqual(site.to_site().certificates, {b"\x0f" * 16: shown})
        for wrong, words in (
            (xtr + xtr, "stands twice"),
            (xtr.replace(pin, "sha256:ab"), "64 hexadecimal digits"),
            (xtr.replace(pin, "two words"), "neither a name nor a pin"),
            (xtr.replace("0f" * 16, "0f"), "32 hexadecimal digits"),
        ):
            (mistake,) = self._mistakes(_MAP_SERVER + wrong)
            self.assertIn(words, mistake)

    def test_in_the_map_server(self) -> None:
        """Wrong values and wrong names."""
        for old, new, *words in (
            (
                'control = ["127.0.0.1:4342"]',
                'control = ["localhost:4342"]',
                "control",
                "localhost",
            ),
            ('control = ["127.0.0.1:4342"]', 'control = ["127.0.0.1:99999"]', "99999"),
            ('control = ["127.0.0.1:4342"]', "control = [7]", "192.0.2.1:4342"),
            ('control = ["127.0.0.1:4342"]', "control = []", "control"),
            ('control = ["127.0.0.1:4342"]', "contorl = []", "contorl", "spelt"),
            ('["tcp:4342:interface=127.0.0.1"]', "[4342]", "reliable-transport"),
            ('name = "campus"', 'name = ""', "name"),
            ("id = 0,", "id = 256,", "keys"),
            ('"hmac-sha-256-128"', '"md5"', "algorithm"),
            (', secret = "campus secret" ', " ", "either secret or secret-file"),
            ('allowed-rlocs = ["127.0.0.0/8"]', 'allowed-rlocs = ["127.0.0.1/8"]', "host bits"),
            (
                'allowed-rlocs = ["127.0.0.0/8"]',
                'allowed-rlocs = ["127.0.0.0/42"]',
                "RLOC-prefix '127.0.0.0/42' is longer",
            ),
            ('prefix = "10.1.0.0/16"', 'prefix = "10.1.0.0"', "address/length"),
            ('prefix = "10.1.0.0/16"', 'prefix = "10.1.0.0/40"', "longer"),
            ("instance-id = 0", "instance-id = 4294967296", "instance-id"),
            ("accept-more-specifics = true", 'accept-more-specifics = "perhaps"', "accept"),
        ):
            self._assert_line(_MAP_SERVER, old, new, *words)

    def test_what_contradicts_itself(self) -> None:
        """Though each value is right by itself."""
        another = _MAP_SERVER[_MAP_SERVER.index("  [[site.eid-prefix]]") :]
        twice = '[[etr.mapping]]\neid-prefix = "10.0.0.0/8"\n' * 2
        for text, words in (
            (_MAP_SERVER + another, "an EID-prefix stands twice, in site 'campus' and in site"),
            (_SMALL_ETR + twice, "two mappings have the EID-prefix 10.0.0.0/8"),
            (_MAP_SERVER.replace('"10.1.0.0/16"', '"name:a"'), "a name matches whole"),
        ):
            (mistake,) = self._mistakes(text)
            self.assertIn(words, mistake)

    def test_values_of_another_type(self) -> None:
        """A yes is no number, and a 1 no yes; no secret is no secret."""
        for old, new, *words in (
            ("id = 0,", "id = true,", "keys", "whole number"),
            ("accept-more-specifics = true", "accept-more-specifics = 1", "true or false"),
            ("instance-id = 0", 'instance-id = "0"', "instance-id", "whole number"),
            ('secret = "campus secret"', 'secret = ""', "secret", "is empty"),
        ):
            self._assert_line(_MAP_SERVER, old, new, *words)

    def test_in_the_map_servers_options(self) -> None:
        """Limits of numbers, names of choices."""
        for line, word in (
            ("receive-buffer = 0", "receive-buffer"),
            ("receive-buffer = 4294967296", "receive-buffer"),
            ('nonce-check = "sometimes"', "nonce-check"),
            ("probation = 0.0", "probation"),
            ("probation = inf", "probation"),
            ("registration-timeout = nan", "registration-timeout"),
            ("max-registration = 70000", "max-registration"),
            ('trusted-etrs = ["example.net"]', "example.net"),
            ("tcp = { keepalive-idle = 40000 }", "keepalive-idle"),
            ("tcp = { keepalive-probes = 128 }", "keepalive-probes"),
            ("tcp = { user-timeout = 1e9 }", "user-timeout"),
            ("tcp = { minimum-ttl = 256 }", "minimum-ttl"),
        ):
            (mistake,) = self._mistakes(f"[map-server]\n\n{line}\n")
            self.assertTrue(mistake.startswith("line 3: "), mistake)
            self.assertIn(word, mistake)

    def test_in_the_etr(self) -> None:
        """Wrong values and wrong names."""
        for old, new, *words in (
            ('"000102030405060708090a0b0c0d0e0f"', '"0001"', "xtr-id", "32 hexadecimal digits"),
            ('"000102030405060708090a0b0c0d0e0f"', '"zz"', "xtr-id", "32 hexadecimal digits"),
            ("site-id = 1", "site-id = -1", "site-id"),
            ('address = "127.0.0.1:4342"', 'address = "ms.example"', "ms.example"),
            ('session = "auto"', 'session = "maybe"', "session"),
            ("ttl = 1440", "ttl = 0", "ttl"),
            ('rloc = "127.0.0.2"', 'rloc = "here"', "rloc"),
            ("priority = 1", "priority = 256", "priority"),
        ):
            self._assert_line(_ETR, old, new, *words)
        (mistake,) = self._mistakes(_ETR.replace("10.1.1.0/24", "10.1.1.1/24"))
        self.assertIn("host bits", mistake)

    def test_what_is_missing(self) -> None:
        """Is named, at the table where it is missing."""
        (mistake,) = self._mistakes(_ETR.replace('address = "127.0.0.1:4342"\n', ""))
        self.assertEqual(mistake, "line 6: etr.map-server[0].address: is missing")
        (mistake,) = self._mistakes('[etr]\nxtr-id = "000102030405060708090a0b0c0d0e0f"\n')
        self.assertIn("map-server", mistake)
        (mistake,) = self._mistakes(_SMALL_ETR.replace("xtr-id", "#xtr-id"))
        self.assertIn("state-dir", mistake)

    def test_every_mistake_is_told_at_once(self) -> None:
        """In their order."""
        mistakes = self._mistakes(
            _MAP_SERVER.replace("control", "contorl").replace("instance-id = 0", "instance-id = -1")
        )
        self.assertEqual([mistake.partition(":")[0] for mistake in mistakes], ["line 2", "line 11"])

    def test_roles(self) -> None:
        """None, or sites without a Map-Server."""
        (mistake,) = self._mistakes("")
        self.assertIn("no role", mistake)
        (mistake,) = self._mistakes(_MAP_SERVER[_MAP_SERVER.index("[[site]]") :] + _ETR)
        self.assertIn("[[site]] is for a Map-Server", mistake)

    def test_sites_that_contradict_each_other(self) -> None:
        """Two of one name, two with one EID-prefix."""
        site = _MAP_SERVER[_MAP_SERVER.index("[[site]]") :]
        (mistake,) = self._mistakes(_MAP_SERVER + site)
        self.assertIn("'campus'", mistake)
        (mistake,) = self._mistakes(_MAP_SERVER + site.replace('"campus"', '"branch"'))
        self.assertIn("in site 'campus' and in site 'branch'", mistake)

    def test_what_is_no_toml(self) -> None:
        """With the place that the parser tells."""
        (mistake,) = self._mistakes("[map-server\n")
        self.assertIn("not valid TOML", mistake)
        self.assertIn("line 1", mistake)

    def test_a_file_that_cannot_be_read(self) -> None:
        """Not there, a directory, not text."""
        path = Path(self.mktemp())
        for reason, prepare in (
            ("No such file or directory", lambda: path.write_bytes(b"\xff\xfe")),
            ("it is not UTF-8 text", lambda: (path.unlink(), path.mkdir())),
            ("Is a directory", path.rmdir),
        ):
            error = self.assertRaises(ConfigError, load_config, path)
            self.assertEqual(str(error), f"{path}: can't be read: {reason}")
            prepare()

    def test_every_line_of_the_text_names_the_file(self) -> None:
        """However many mistakes."""
        error = self.assertRaises(
            ConfigError, parse_config, "[map-server]\na = 1\nb = 2\n", "f.toml"
        )
        self.assertEqual([line[:8] for line in str(error).splitlines()], ["f.toml: "] * 2)


class PlaceTests(SynchronousTestCase):
    """Lines of places."""

    TEXT = """\
# a comment = 1
[a]
key = 1
"quoted key" = 2

[[list]]          # the first
inner = 1
[[list.deep]]
x = 1
[[list]]
inner = 2
  [[list.deep]]
  x = 2
  [[ list . deep ]]
  x = 3
[list.table]
y = 4
"""

    def test_places_are_found(self) -> None:
        """Tables, keys, arrays of tables, in both forms."""
        for place, line in (
            (("a",), 2),
            (("a", "key"), 3),
            (("a", "quoted key"), 4),
            (("list", 0), 6),
            (("list", 0, "inner"), 7),
            (("list", 0, "deep", 0, "x"), 9),
            (("list", 1), 10),
            (("list", 1, "deep", 0, "x"), 13),
            (("list", 1, "deep", 1, "x"), 15),
            (("list", 1, "table", "y"), 17),
        ):
            self.assertEqual(locate(self.TEXT, place), line, place)

    def test_the_closest_place_is_told_for_what_has_no_line(self) -> None:
        """A value inside an inline table, a key that is missing, nothing at all."""
        self.assertEqual(locate(self.TEXT, ("a", "key", 3, "inside")), 3)
        self.assertEqual(locate(self.TEXT, ("list", 1, "missing")), 10)
        self.assertEqual(locate(self.TEXT, ("nowhere",)), 1)
        self.assertEqual(locate("", ()), 1)


class PublicNameTests(SynchronousTestCase):
    """What an embedder imports."""

    def test_every_public_name_is_there(self) -> None:
        """And nothing else is."""
        import lispmsrt

        for name in lispmsrt.__all__:
            self.assertIsNotNone(getattr(lispmsrt, name), name)
        self.assertIs(lispmsrt.Config, Config)
        self.assertRaises(AttributeError, getattr, lispmsrt, "Nothing")
