"""The command line, and what ``check-config`` says of right and wrong files."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.cli import main
from lispmsrt.cli.commands import COMMANDS

CHECKOUT = Path(__file__).resolve().parent.parent

BOTH_ROLES = """\
[map-server]
control = ["192.0.2.1", "[2001:db8::1]:4343"]
reliable-transport = ["tcp:interface=192.0.2.1", "tcp:4343"]
trusted-etrs = ["192.0.2.99"]

[[site]]
name = "campus"
keys = [
  { id = 1, algorithm = "hmac-sha-1-96", secret = "TOP-SECRET-1" },
  { id = 2, secret-file = "SECRET-FILE" },
]
allowed-rlocs = ["192.0.2.0/24", "2001:db8::/32"]
  [[site.eid-prefix]]
  prefix = "10.1.0.0/16"
  accept-more-specifics = true
  [[site.eid-prefix]]
  prefix = "2001:db8:1::/48"
  instance-id = 7

  [[site.xtr]]
  xtr-id = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"
  certificates = ["etr1.example.net"]

[[site]]
name = "bare"
keys = [{ algorithm = "none" }]

[etr]
control = "192.0.2.2"
xtr-id = "000102030405060708090a0b0c0d0e0f"
site-id = 5

[[etr.map-server]]
address = "192.0.2.1"
key = { secret = "TOP-SECRET-3", truncate-mac = true }
session = "always"
transports = ["tcp:192.0.2.1", "tcp:192.0.2.1:4343"]

[[etr.map-server]]
address = "[2001:db8::1]:4343"
key = { secret = "TOP-SECRET-4" }
session = "off"
proxy-reply = false
mapping-notifications = false

[[etr.mapping]]
eid-prefix = "10.1.1.0/24"
locators = [{ rloc = "192.0.2.2" }, { rloc = "2001:db8::2", priority = 2, weight = 50 }]
[[etr.mapping]]
eid-prefix = "10.1.2.0/24"
instance-id = 7
ttl = 5
action = "drop"
"""

MISTAKES = """\
[map-server]
control = ["192.0.2.1:99999", 5]
reliable-transport = [7]
probation = -1
speed = 9

[[site]]
name = "campus"
keys = [{ id = 900, algorithm = "md5", secrt = "TOP-SECRET-1" }, { id = 0 }, "TOP-SECRET-2"]
  [[site.eid-prefix]]
  prefix = "10.1.0.1/16"
  [[site.eid-prefix]]
  prefix = "10.2.0.0/16"
  accept-more-specifics = "perhaps"
[[site]]
keys = []

[etr]
xtr-id = "12"
[[etr.map-server]]
address = "192.0.2.1"
key = { secret = 5 }
session = "sometimes"
[[etr.mapping]]
eid-prefix = "10.1.1.0/24"
locators = [{ rloc = "nowhere" }, {}]
ttl = 0
"""


def run(*arguments: str) -> tuple[int, str, str]:
    """Run the command line here; return exit code, standard output and standard error."""
    output, errors = StringIO(), StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        try:
            code = main(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
    return code, output.getvalue(), errors.getvalue()


class CheckConfigTests(SynchronousTestCase):
    """``lispmsrt check-config``."""

    def check(self, text: str) -> tuple[int, str, str]:
        """Check a file with this text."""
        self.path = self.mktemp()
        Path(self.path).write_text(text)
        return run("check-config", self.path)

    def meaning(self, text: str) -> list[str]:
        """Return the lines that a right file gives, each run of spaces made one."""
        code, output, errors = self.check(text)
        self.assertEqual((code, errors), (0, ""))
        return [" ".join(line.split()) for line in output.splitlines()]

    def mistakes(self, text: str) -> list[str]:
        """Return the mistakes of a wrong file, without its path."""
        code, output, errors = self.check(text)
        self.assertEqual((code, output), (1, ""))
        lines = errors.splitlines()
        self.assertEqual(lines.pop(), f"{len(lines)} mistake" + "s" * (len(lines) > 1))
        self.assertTrue(all(line.startswith(f"{self.path}: ") for line in lines))
        return [line.removeprefix(f"{self.path}: ") for line in lines]

    def both_roles(self) -> str:
        """Return a file that configures everything, and write the secret that it names."""
        path = self.mktemp()
        Path(path).write_text("TOP-SECRET-2\n")
        Path(path).chmod(0o600)
        return BOTH_ROLES.replace("SECRET-FILE", path)

    def test_samples_are_right(self) -> None:
        """The files in tap/ are."""
        for sample in sorted((CHECKOUT / "tap").glob("*.toml")):
            code, output, errors = run("check-config", str(sample))
            self.assertEqual((code, errors), (0, ""), sample)
            self.assertIn("roles", output)

    def test_map_server_in_plain_words(self) -> None:
        """Sockets with their default ports, trusted ETRs."""
        lines = self.meaning(self.both_roles())
        for line in (
            "roles Map-Server and ETR",
            "control UDP 192.0.2.1:4342",
            "UDP [2001:db8::1]:4343",
            "reliable transport tcp:4342:interface=192.0.2.1",
            "tcp:4343",
            "trusted ETRs 192.0.2.99 (may connect unasked)",
        ):
            self.assertIn(line, lines)

    def test_sites_in_plain_words(self) -> None:
        """Keys by ID and algorithm, EID-prefixes with instance ID, RLOCs."""
        lines = self.meaning(self.both_roles())
        campus = lines[lines.index("site campus") : lines.index("site bare")]
        self.assertIn("keys ID 1, hmac-sha-1-96", campus)
        self.assertIn("allowed RLOCs 192.0.2.0/24, 2001:db8::/32", campus)
        self.assertIn("EID-prefixes 10.1.0.0/16 instance ID 0 and more-specifics", campus)
        self.assertIn("2001:db8:1::/48 instance ID 7 exactly", campus)
        self.assertIn(f"xTRs by certificate {'0a' * 16} by etr1.example.net", campus)
        bare = lines[lines.index("site bare") : lines.index("ETR")]
        self.assertIn("keys ID 0, none", bare)
        self.assertIn("allowed RLOCs any", bare)
        self.assertIn("EID-prefixes none: this site can register nothing", bare)

    def test_etr_in_plain_words(self) -> None:
        """Identity, Map-Servers with their transports completed, mappings."""
        lines = self.meaning(self.both_roles())
        for line in (
            "control UDP 192.0.2.2:4342",
            "xTR-ID 000102030405060708090a0b0c0d0e0f",
            "Site-ID 5",
            "Map-Server 192.0.2.1:4342 of the ETR",
            "key ID 0, hmac-sha-256-128, truncated",
            "session always: after any authentic Map-Notify",
            "transports 1. tcp:192.0.2.1:4342:bindAddress=192.0.2.2",
            "2. tcp:192.0.2.1:4343:bindAddress=192.0.2.2",
            "Map-Server [2001:db8::1]:4343 of the ETR",
            "session off: UDP only",
            "transports none",
            "asks for -",
            "10.1.1.0/24 instance ID 0 TTL 1440 min RLOC 192.0.2.2 priority 1 weight 100",
            "RLOC 2001:db8::2 priority 2 weight 50",
            "10.1.2.0/24 instance ID 7 TTL 5 min no locator: drop",
        ):
            self.assertIn(line, lines)

    def test_columns_are_aligned(self) -> None:
        """What labels name begins in one column."""
        _code, output, _errors = self.check(self.both_roles())
        for label in ("control", "keys", "allowed RLOCs", "xTR-ID", "transports"):
            line = next(line for line in output.splitlines() if line.startswith(f"  {label} "))
            self.assertEqual(len(line) - len(line[2 + len(label) :].lstrip()), 24, line)

    def test_xtr_id_that_is_yet_to_be_made(self) -> None:
        """It says where it will be kept, and makes nothing."""
        directory = self.mktemp()
        text = BOTH_ROLES[BOTH_ROLES.index("[etr]") :]
        xtr_id = 'xtr-id = "000102030405060708090a0b0c0d0e0f"'
        text = text.replace(xtr_id, f'state-dir = "{directory}"')
        self.assertIn(f"xTR-ID made once and kept in {directory}", self.meaning(text))
        self.assertFalse(Path(directory).exists())

    def test_no_site(self) -> None:
        """A Map-Server without sites is allowed, and said."""
        self.assertIn("No site: nobody can register.", self.meaning("[map-server]\n"))

    def test_name_that_would_drive_the_terminal(self) -> None:
        """Control characters are spelt out."""
        text = BOTH_ROLES[: BOTH_ROLES.index("[etr]")].replace('"bare"', '"\\u001b[31m"')
        _code, output, _errors = self.check(text.replace("secret-file = ", "secret = "))
        self.assertIn("site \\x1b[31m", output)
        self.assertNotIn("\x1b", output)

    def test_every_mistake_at_once_with_its_place(self) -> None:
        """All of them, in the order of the file."""
        places = [tuple(mistake.split(": ")[:2]) for mistake in self.mistakes(MISTAKES)]
        self.assertEqual(
            places,
            [
                ("line 2", "map-server.control[0]"),
                ("line 2", "map-server.control[1]"),
                ("line 3", "map-server.reliable-transport[0]"),
                ("line 4", "map-server.probation"),
                ("line 5", "map-server.speed"),
                ("line 9", "site[0].keys[0].id"),
                ("line 9", "site[0].keys[0].algorithm"),
                ("line 9", "site[0].keys[0].secrt"),
                ("line 9", "site[0].keys[1]"),
                ("line 9", "site[0].keys[2]"),
                ("line 11", "site[0].eid-prefix[0].prefix"),
                ("line 14", "site[0].eid-prefix[1].accept-more-specifics"),
                ("line 15", "site[1].name"),
                ("line 16", "site[1].keys"),
                ("line 19", "etr.xtr-id"),
                ("line 22", "etr.map-server[0].key.secret"),
                ("line 23", "etr.map-server[0].session"),
                ("line 26", "etr.mapping[0].locators[0].rloc"),
                ("line 26", "etr.mapping[0].locators[1].rloc"),
                ("line 27", "etr.mapping[0].ttl"),
            ],
        )

    def test_mistakes_read_well(self) -> None:
        """Each says what is wrong or what must be there."""
        mistakes = self.mistakes(MISTAKES)
        for mistake in (
            "line 2: map-server.control[0]: '99999' is no port number",
            "line 4: map-server.probation: must be greater than 0",
            "line 5: map-server.speed: is not an option; is it spelt right?",
            "line 9: site[0].keys[0].id: must be at most 255",
            "line 9: site[0].keys[2]: must be a table",
            "line 14: site[0].eid-prefix[1].accept-more-specifics: must be true or false",
            "line 16: site[1].keys: is empty",
            "line 22: etr.map-server[0].key.secret: must be a text in quotes",
            "line 23: etr.map-server[0].session: must be one of 'off', 'auto' or 'always'",
        ):
            self.assertIn(mistake, mistakes)

    def test_list_of_wrong_elements_is_not_called_empty(self) -> None:
        """Only an empty list is."""
        emptiness = [mistake for mistake in self.mistakes(MISTAKES) if "is empty" in mistake]
        self.assertEqual(emptiness, ["line 16: site[1].keys: is empty"])

    def test_endpoints_that_nobody_understands(self) -> None:
        """Unknown prefix, wrong number, unknown argument, on both sides; nothing is opened."""
        text = self.both_roles().replace('"tcp:4343"', '"tpc:1", "tcp:many", "tcp:1:color=red"')
        text = text.replace('"tcp:192.0.2.1:4343"', '"tpc:192.0.2.1:4343"')
        mistakes = self.mistakes(text)
        for mistake, start in zip(
            mistakes,
            (
                "line 3: map-server.reliable-transport 'tpc:1': Unknown endpoint type",
                "line 3: map-server.reliable-transport 'tcp:many': ",
                "line 3: map-server.reliable-transport 'tcp:1:color=red': ",
                "line 37: etr.map-server[0].transports 'tpc:192.0.2.1:4343': Unknown endpoint",
            ),
            strict=True,
        ):
            self.assertEqual(mistake[: len(start)], start)

    def test_mistake_of_the_whole_file(self) -> None:
        """A file without a role."""
        self.assertIn("configures no role", *self.mistakes(""))

    def test_text_that_is_no_toml(self) -> None:
        """The place is TOML's own."""
        self.assertIn("at line 2, column 7", *self.mistakes("[etr]\nxtr = \n"))

    def test_file_that_is_not_there(self) -> None:
        """One sentence, no traceback."""
        code, _output, errors = run("check-config", self.mktemp())
        self.assertEqual(code, 1)
        self.assertIn("can't be read: No such file or directory", errors)

    def test_secrets_are_never_printed(self) -> None:
        """Neither of a right file nor of a wrong one, wherever the secret stands."""
        wrong = 'keys = ["TOP-SECRET"]', 'keys = [{ id = "TOP-SECRET" }]', 'keys = "TOP-SECRET"'
        files = [self.both_roles(), MISTAKES]
        files += [f'[map-server]\n[[site]]\nname = "x"\n{keys}\n' for keys in wrong]
        for text in files:
            _code, output, errors = self.check(text)
            self.assertTrue(output or errors)
            self.assertNotIn("SECRET", output.replace(self.path, "") + errors)

    def test_endpoint_that_ends_in_the_middle_of_an_escape(self) -> None:
        """Twisted's own reader gives up with an error that is none of the operator's."""
        text = self.both_roles().replace('"tcp:4343"', "'tcp:4343:interface=127.0.0.1\\'")
        code, output, errors = self.check(text)
        self.assertEqual((code, output), (1, ""))
        self.assertIn("ends with a backslash", errors)

    def test_secret_file_that_can_not_be_read(self) -> None:
        """It is named, with the reason."""
        path = self.mktemp()
        text = BOTH_ROLES.replace("SECRET-FILE", path)
        mistakes = self.mistakes(text)
        self.assertEqual(len(mistakes), 1)
        self.assertIn(f"secret-file {path} can't be read", mistakes[0])


class CommandLineTests(SynchronousTestCase):
    """``lispmsrt`` itself."""

    def test_help_names_every_command(self) -> None:
        """With its summary."""
        code, output, _errors = run("--help")
        self.assertEqual(code, 0)
        for name, module in COMMANDS.items():
            self.assertIn(name, output)
            self.assertIn((import_module(module).__doc__ or "").split()[0], output)

    def test_command_imports_what_it_needs_only(self) -> None:
        """Asking for a mapping must not wait for the demo and its like."""
        code = (
            "import sys; from lispmsrt.cli import main\n"
            "try: main(['lig', '--help'])\n"
            "except SystemExit: print(sorted(m for m in sys.modules if 'lispmsrt.cli' in m))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True
        )
        self.assertIn("lispmsrt.cli.lig", done.stdout)
        self.assertNotIn("lispmsrt.cli.demo", done.stdout.splitlines()[-1])

    def test_no_command(self) -> None:
        """Usage, and the exit code of wrong usage."""
        code, _output, errors = run()
        self.assertEqual(code, 2)
        self.assertIn("usage: lispmsrt", errors)

    def test_wrong_pace(self) -> None:
        """Refused before anything starts."""
        for pace in ("-1", "nan", "soon"):
            self.assertEqual(run("demo", "--pace", pace)[0], 2)

    def test_reader_that_leaves_early(self) -> None:
        """``lispmsrt check-config FILE | head`` ends without a traceback."""
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "w") as stream, redirect_stdout(stream):
            code = main(["check-config", str(CHECKOUT / "tap" / "etr.toml")])
            self.assertTrue(stat.S_ISCHR(os.fstat(writer).st_mode))
        self.assertEqual(code, 1)
