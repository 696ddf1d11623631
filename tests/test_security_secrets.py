"""Where secrets are, and where they never come to be (docs/security.rst)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from unittest import skipUnless

from twisted.internet import reactor as global_reactor
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, eventAsText, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from lispmsrt import ConfigError, parse_config
from lispmsrt.cli.commands import COMMANDS, make_parser
from lispmsrt.compiled import twin
from lispmsrt.config.management import read_token
from lispmsrt.config.secret_files import read_secret_file
from lispmsrt.identity import EtrIdentity
from lispmsrt.web.access import Access
from lispmsrt.wire.authentication import AlgorithmId, Key
from tests.management_ground import TOKEN, ManagementGround, private_directory
from tests.rim import etr_text, map_server_text, site_text
from tests.running import CHECKOUT, TERMINATED, free_port, start
from tests.test_storage import StorageGround
from tests.test_units import value

_SECRET = "open-sesame-7f3a"
_SAFE = (0o400, 0o440, 0o600, 0o640)
_UNSAFE = (0o604, 0o644, 0o660, 0o602, 0o620, 0o666, 0o777)
_SECRET_WORDS = re.compile(r"--\w*-?(secret|token|password|key)$")
_IS_ROOT = os.getuid() == 0


class FileModeTests(SynchronousTestCase):
    """Files that hold a secret and nothing else."""

    def setUp(self) -> None:
        self.file = Path(self.mktemp())
        self.file.write_text(f"{_SECRET}\n")

    def test_a_secret_file_that_others_may_read_is_refused(self) -> None:
        """Its group may read it, as where the file is root's and the group the daemon's."""
        text = map_server_text(site_text()).replace(
            'secret = "campus secret"', f'secret-file = "{self.file}"'
        )
        for mode in _SAFE:
            self.file.chmod(mode)
            (key,) = parse_config(text).site[0].keys
            self.assertTrue(
                key.to_key().has_same_secret(Key(0, AlgorithmId.HMAC_SHA_256_128, _SECRET.encode()))
            )
        for mode in _UNSAFE:
            self.file.chmod(mode)
            error = self.assertRaises(ConfigError, parse_config, text)
            self.assertRegex(str(error), "everybody on this machine|others may write to it")
            self.assertNotIn(_SECRET, str(error))

    def test_a_token_file_likewise(self) -> None:
        """At start, and at each reload."""
        for mode in _SAFE:
            self.file.chmod(mode)
            self.assertEqual(read_token(self.file), _SECRET.encode())
        for mode in _UNSAFE:
            self.file.chmod(mode)
            error = self.assertRaises(ValueError, read_token, self.file)
            self.assertIn(f"token-file {self.file}: ", str(error))
            self.assertNotIn(_SECRET, str(error))

    def test_it_has_an_end(self) -> None:
        """A device or a log, named by mistake, does not fill the memory."""
        self.file.chmod(0o600)
        with self.file.open("wb") as file:
            file.truncate(1 << 32)
        error = self.assertRaises(ValueError, read_secret_file, self.file, "secret-file")
        self.assertIn("more than 65536 octets", str(error))

    def test_what_a_link_leads_to_counts(self) -> None:
        """The mode of a link says nothing."""
        self.file.chmod(0o644)
        link = Path(self.mktemp())
        link.symlink_to(self.file.absolute())
        self.assertRaises(ValueError, read_secret_file, link, "secret-file")


class ComparisonTests(SynchronousTestCase):
    """How MACs and tokens are compared."""

    def test_tokens_are_compared_in_constant_time(self) -> None:
        """By hmac.compare_digest, and nothing else looks at them."""
        source = (CHECKOUT / "lispmsrt/web/access.py").read_text()
        (check,) = re.findall(r"def _check_token.*?(?=\n    def )", source, re.DOTALL)
        self.assertIn("hmac.compare_digest(given.strip(), token)", check)
        self.assertEqual(len(re.findall(r"\btoken\b", check)) - check.count("the token"), 2)
        self.assertTrue(callable(Access.check))

    def test_compiled_code_compares_every_octet(self) -> None:
        """Its comparison has one way through, whatever differs; no kernel has another."""
        source = (CHECKOUT / "lispmsrt/wire/_keyed_hash.pyx").read_text()
        (equal,) = re.findall(r"(?s)cdef bint equal\(.*?\n\n", source)
        self.assertNotIn("memcmp", equal)
        self.assertEqual(equal.count("return"), 1)
        self.assertIn("|=", equal)
        for kernel in ("control/_map_registers", "mapping/_likeness"):
            text = (CHECKOUT / f"lispmsrt/{kernel}.pyx").read_text()
            self.assertIn("return equal(digest, message + AUTHENTICATION, self.mac_size)", text)
            self.assertNotRegex(text, r"memcmp\([^)]*\b(mac|digest)\b", kernel)


class NowhereTests(ManagementGround):
    """A whole process with a secret of its own: everything that it says."""

    sites = site_text("campus", "10.1.0.0/16")
    eids = ("10.1.1.0/24", "10.9.9.0/24")
    token = TOKEN
    listen = ("tcp:0:interface=127.0.0.1",)

    async def test_in_no_answer_no_metric_and_no_line_of_the_log(self) -> None:
        """Neither as it is nor in hexadecimal digits; the fingerprints of keys likewise."""
        lines: list[str] = []

        def keep(event: LogEvent) -> None:
            lines.append(eventAsText(event) + repr(event))

        globalLogPublisher.addObserver(keep)
        self.addCleanup(globalLogPublisher.removeObserver, keep)
        self.start()
        await self.until(lambda: len(self.map_server.sessions) == 1)
        await self.until(lambda: self.map_server.registrar.rejections.count > 0)
        document = (await self.get("/api/v1/openapi.json")).json
        paths = [path for path, item in document["paths"].items() if "get" in item]
        detail = {"/api/v1/sessions/{id}": "127.0.0.2", "/api/v1/sites/{name}": "campus"}
        query = {"/api/v1/eid": "?eid=10.1.1.5", "/api/v1/explain": "?eid=10.1.9.5"}
        said = []
        for path in sorted(set(paths) - {"/api/v1/stream"}):
            url = path.partition("{")[0] + detail.get(path, "") + query.get(path, "")
            answer = await self.get(url)
            self.assertEqual(answer.status, 200, url)
            said.append(answer.body.decode())
        refused = await self.get("/api/v1/overview", token="wrong")
        said += [refused.body.decode(), *lines]
        (key,) = self.map_server.registrar.sites.prefixes[0].site.keys
        for secret in (b"campus secret", TOKEN.encode(), key.fingerprint):
            for text in said:
                self.assertNotIn(secret.decode("latin-1"), text)
                self.assertNotIn(secret.hex(), text)
        self.assertGreater(len(said), 15)


class TracebackTests(SynchronousTestCase):
    """A bug while a secret is at hand."""

    def test_what_is_logged_of_a_failure_has_no_secret(self) -> None:
        """Neither the traceback nor the arguments of what failed."""
        key = Key(1, AlgorithmId.HMAC_SHA_256_128, _SECRET.encode())
        config = parse_config(map_server_text(site_text(secrets=(_SECRET,))))
        said: list[str] = []
        try:
            self._fail(key, config.site)
        except LookupError:
            failure = Failure()
            said += [failure.getTraceback(), failure.getBriefTraceback(), repr(failure)]
        self.assertEqual(len(said), 3)
        for text in said:
            self.assertNotIn(_SECRET, text)

    def _fail(self, key: Key, sites: object) -> None:
        raise LookupError(key, sites)

    def test_a_compiled_key_shows_nothing(self) -> None:
        """Neither by its name, nor by an attribute that Python can read, nor pickled."""
        compiled = twin("lispmsrt.wire._keyed_hash")
        if compiled is None:
            return
        hashed = compiled.KeyedHash("sha256", _SECRET.encode())
        self.assertNotIn(_SECRET, repr(hashed))
        public = [name for name in dir(hashed) if not name.startswith("__")]
        shown = [name for name in public if not callable(getattr(hashed, name))]
        self.assertEqual(shown, ["digest_size"])
        self.assertRaises(TypeError, hashed.__reduce__)


class StateFileTests(StorageGround):
    """What a Map-Server and an ETR write down."""

    def test_no_key_is_in_the_state_file(self) -> None:
        """Only a fingerprint of 64 bits, with which nothing can be signed; for its owner alone."""
        server = self.remembering()
        etr = self.etr("10.1.1.0/24")
        self.network.run(5)
        self.assertEqual(len(server.database), 1)
        (key,) = server.registrar.sites.prefixes[0].site.keys
        server.stopService()
        self.network.run(5)
        self.services.remove(server)
        etr.stopService()
        octets = b"".join(each.read_bytes() for each in self.path.parent.iterdir())
        self.assertNotIn(b"campus secret", octets)
        self.assertNotIn(key.mac(b""), octets)
        self.assertIn(key.fingerprint, octets)
        self.assertEqual(len(key.fingerprint), 8)
        for each in self.path.parent.iterdir():
            self.assertEqual(each.stat().st_mode & 0o077, 0, each)


class IdentityFileTests(SynchronousTestCase):
    """What an ETR writes down, where somebody else can write too."""

    def test_a_link_in_the_place_of_its_file_is_not_followed(self) -> None:
        """Neither of the file nor of what becomes it: a daemon that starts as root would write to
        where its user has it lead.
        """
        directory, victim = Path(self.mktemp()), Path(self.mktemp()).absolute()
        directory.mkdir()
        victim.write_text("precious")
        for name in ("etr-identity.new", "etr-identity.json.new"):
            (directory / name).symlink_to(victim)
        config = parse_config(etr_text(options=f'state-dir = "{directory}"')).etr
        assert config is not None
        EtrIdentity.from_config(config).save()
        self.assertEqual(victim.read_text(), "precious")
        self.assertFalse((directory / "etr-identity.json").is_symlink())


class ArgumentTests(SynchronousTestCase):
    """What every user of the host reads in ``ps``."""

    def test_no_command_takes_a_secret_as_an_argument(self) -> None:
        """Files are named instead."""
        options = set()
        parsers: list[Any] = []
        parsers += [make_parser([name]) for name in COMMANDS]
        while parsers:
            for action in parsers.pop()._actions:
                options |= set(action.option_strings)
                if isinstance(action.choices, dict):
                    parsers += action.choices.values()
        self.assertIn("--key-file", options)
        self.assertIn("--token-file", options)
        # That of make-certificate names the file that it writes.
        named = {each for each in options if _SECRET_WORDS.search(each)}
        self.assertEqual(named, {"--private-key"})


class UnitTests(SynchronousTestCase):
    """The unit for systemd."""

    def test_no_core_is_dumped(self) -> None:
        """What is in memory has keys in it."""
        self.assertEqual(value("lispmsrt.service", "LimitCORE"), "0")

    def test_what_it_makes_is_its_own(self) -> None:
        """Files, directories, the socket."""
        self.assertEqual(value("lispmsrt.service", "UMask"), "0077")
        for name in ("RuntimeDirectoryMode", "StateDirectoryMode"):
            self.assertEqual(value("lispmsrt.service", name), "0700")

    def test_no_capability_and_no_way_to_more(self) -> None:
        """A user of its own, nothing to write to but its own, no other address families."""
        expected = {
            "User": "lispmsrt",
            "CapabilityBoundingSet": "",
            "AmbientCapabilities": "",
            "NoNewPrivileges": "yes",
            "ProtectSystem": "strict",
            "ProtectHome": "yes",
            "PrivateTmp": "yes",
            "PrivateDevices": "yes",
            "PrivateUsers": "yes",
            "ProtectProc": "invisible",
            "RestrictNamespaces": "yes",
            "RestrictSUIDSGID": "yes",
            "LockPersonality": "yes",
            "MemoryDenyWriteExecute": "yes",
            "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
        }
        found = {key: value("lispmsrt.service", key) for key in expected}
        self.assertEqual(found, expected)


class DaemonTests(TestCase):
    """``twistd`` as root that becomes somebody else."""

    timeout = 60

    @skipUnless(_IS_ROOT, "only root can become somebody else")
    async def test_it_works_as_another_user_without_capabilities(self) -> None:
        """Sockets, state, management socket and a session, and no secret in its arguments."""
        place = Path(self.mktemp()).absolute()
        directory = private_directory(self)
        directory.chmod(0o755)
        for name in ("state", "run"):
            (directory / name).mkdir()
            os.chown(directory / name, 65534, 65534)
        port = str(free_port("127.0.0.1", "127.0.0.2"))
        text = map_server_text(site_text(secrets=(_SECRET,))) + etr_text(
            "10.1.1.0/24", secret=_SECRET, server_options=f'transports = ["tcp:127.0.0.1:{port}"]'
        )
        place.write_text(text.replace("4342", port))
        place.chmod(0o600)
        arguments = ("-n", "--pidfile=", "--uid", "65534", "--gid", "65534")
        child = start(
            self,
            global_reactor,
            *arguments,
            *("lispmsrt", "--config", str(place)),
            LISPMSRT_STATE=str(directory / "state"),
            LISPMSRT_SOCKET=str(directory / "run" / "ms.sock"),
        )
        await child.says("session 1 with campus")
        transport: Any = child.transport
        status = Path(f"/proc/{transport.pid}/status").read_text()
        self.assertRegex(status, r"(?m)^Uid:(\s+65534){4}$")
        self.assertRegex(status, r"(?m)^CapEff:\s+0+$")
        self.assertNotIn(_SECRET, Path(f"/proc/{transport.pid}/cmdline").read_text())
        self.assertNotIn(_SECRET.encode(), await deferToThread(_environment, transport.pid))
        order = ("set uid/gid 65534/65534", "LISP control on UDP", "reliable transport on")
        self.assertEqual(sorted(order, key=child.output.index), list(order))
        self.assertTrue((directory / "run" / "ms.sock").exists())
        self.assertTrue(list((directory / "state").glob("*.state")))
        child.signal("TERM")
        self.assertIn(await child.ended, TERMINATED)
        for noise in ("Traceback", "can't", _SECRET):
            self.assertNotIn(noise, child.output)


def _environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()
