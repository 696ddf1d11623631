"""`lispmsrt make-certificate`: what it writes, prints and refuses."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.selectreactor import SelectReactor
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.cli.commands import main
from lispmsrt.transports.certificates import pin_of


class _Command(SynchronousTestCase):
    """The command in an empty directory."""

    def setUp(self) -> None:
        """Make it."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.certificate, self.key = self.folder / "ms.pem", self.folder / "ms.key"

    def run_it(self, *options: str) -> tuple[int, str, str]:
        """Return exit code, standard output and standard error."""
        files = ["--certificate", str(self.certificate), "--private-key", str(self.key)]
        output, errors = StringIO(), StringIO()
        with redirect_stdout(output), redirect_stderr(errors):
            code = main(["make-certificate", *files, *options])
        return code, output.getvalue(), errors.getvalue()

    def mistake(self, *options: str) -> str:
        """Return the one sentence that it fails with."""
        code, output, errors = self.run_it(*options)
        self.assertEqual((code, output, errors.count("\n")), (1, "", 1))
        return errors.strip().removeprefix("lispmsrt make-certificate: ")

    def made(self) -> x509.Certificate:
        """Return the certificate in the file."""
        return x509.load_pem_x509_certificate(self.certificate.read_bytes())

    def left(self) -> list[str]:
        """Return the names of all files."""
        return sorted(os.listdir(self.folder))


class FilesTests(_Command):
    """What is written."""

    def test_certificate_and_key_belong_together(self) -> None:
        """Certificate for everybody to read, key for the owner."""
        code, _output, errors = self.run_it("--name", "ms.example")
        self.assertEqual((code, errors), (0, ""))
        key = load_pem_private_key(self.key.read_bytes(), None)
        self.assertEqual(key.public_key(), self.made().public_key())
        self.assertEqual(self.key.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.left(), ["ms.key", "ms.pem"])

    def test_key_is_for_its_owner_from_the_first_moment(self) -> None:
        """Created with its mode, not given it later, and whatever the umask."""
        modes = []
        create = os.open

        def observed(path: str, flags: int, mode: int = 0o777) -> int:
            descriptor = create(path, flags, mode)
            modes.append((os.path.basename(path), os.fstat(descriptor).st_mode & 0o777))
            return descriptor

        self.patch(os, "open", observed)
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        self.run_it()
        self.assertEqual(modes, [("ms.key", 0o600), ("ms.pem", 0o644)])

    def test_names_and_days(self) -> None:
        """Each name once; valid since yesterday, for clocks that are behind."""
        self.run_it(
            "--name", "MS.example", "--name", "192.0.2.1", "--name", "ms.example", "--days", "30"
        )
        made, now = self.made(), datetime.now(UTC)
        names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual([str(name.value) for name in names], ["ms.example", "192.0.2.1"])
        self.assertLess(made.not_valid_before_utc, now - timedelta(hours=23))
        self.assertLess(
            abs(made.not_valid_after_utc - now - timedelta(days=30)), timedelta(hours=1)
        )

    def test_host_name_is_the_default(self) -> None:
        """For ten years."""
        self.patch(socket, "gethostname", lambda: "LAB1")
        self.run_it()
        names = self.made().extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual([name.value for name in names], ["lab1"])
        self.assertGreater(self.made().not_valid_after_utc, datetime.now(UTC) + timedelta(3640))

    def test_files_in_the_current_directory_by_default(self) -> None:
        """With names that say what they are; what is printed is absolute."""
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)
        output = StringIO()
        with redirect_stdout(output):
            self.assertEqual(main(["make-certificate", "--name", "a"]), 0)
        self.assertEqual(self.left(), ["certificate.pem", "private-key.pem"])
        self.assertIn(f"certificate={self.folder}/certificate.pem", output.getvalue())

    def test_files_that_exist_stay(self) -> None:
        """Either of them; nothing else is written then."""
        for path, other in ((self.key, self.certificate), (self.certificate, self.key)):
            path.write_text("mine")
            self.assertEqual(self.mistake(), f"{path}: exists already; --force replaces it")
            self.assertEqual((path.read_text(), other.exists()), ("mine", False))
            path.unlink()

    def test_force_replaces_both(self) -> None:
        """With the right mode, and not what a link points to."""
        elsewhere = self.folder / "elsewhere"
        elsewhere.write_text("mine")
        self.key.symlink_to(elsewhere)
        self.certificate.write_text("old")
        self.assertEqual(self.run_it("--force")[0], 0)
        self.assertEqual(elsewhere.read_text(), "mine")
        self.assertFalse(self.key.is_symlink())
        self.assertEqual(self.key.stat().st_mode & 0o777, 0o600)
        self.made()
        self.assertEqual(self.left(), ["elsewhere", "ms.key", "ms.pem"])

    def test_failure_leaves_what_was_there(self) -> None:
        """Where the second file can't be written the first is not replaced."""
        self.key.write_text("mine")
        self.certificate = self.folder / "no" / "ms.pem"
        self.mistake("--force")
        self.assertEqual((self.key.read_text(), self.left()), ("mine", ["ms.key"]))

    def test_disk_that_is_full(self) -> None:
        """Half a key is of no use."""
        create = os.open

        def on_a_full_disk(path: str, flags: int, mode: int) -> int:
            os.close(create(path, flags, mode))
            return create("/dev/full", os.O_WRONLY)

        self.patch(os, "open", on_a_full_disk)
        self.assertEqual(self.mistake(), f"{self.key}: can't be written: No space left on device")
        self.assertEqual(self.left(), [])


class OutputTests(_Command):
    """What is printed."""

    def _strings(self, output: str) -> list[str]:
        """Return the endpoint strings, as TOML would read them."""
        found = re.findall(r"^  (?:'(.*)'|(\".*\"))$", output, re.MULTILINE)
        return [literal or json.loads(basic) for literal, basic in found]

    def test_pin_is_that_of_the_certificate(self) -> None:
        """And both clients are given it."""
        _code, output, _errors = self.run_it("--name", "ms.example")
        pin = pin_of(self.made())
        self.assertIn(f"Pin          {pin}\n", output)
        _quic, _tls, *clients = self._strings(output)
        self.assertEqual(
            clients, [f"quic:ms.example:4343:pin={pin}", f"tls13:ms.example:4342:pin={pin}"]
        )

    def test_strings_are_understood(self) -> None:
        """Those of TLS by Twisted with our plugin, whatever is in the paths and the name."""
        self.folder = self.folder / "it's a: lab"
        self.folder.mkdir()
        self.certificate, self.key = self.folder / "ms.pem", self.folder / "ms.key"
        _code, output, _errors = self.run_it("--name", "2001:db8::1")
        _quic, server, _quic_client, client = self._strings(output)
        serverFromString(SelectReactor(), server)
        clientFromString(SelectReactor(), client)

    def test_key_is_not_printed(self) -> None:
        """It is in its file."""
        _code, output, _errors = self.run_it()
        self.assertNotIn("PRIVATE", output)


class MistakeTests(_Command):
    """One sentence each."""

    def test_directory_that_is_missing(self) -> None:
        """Nothing is written."""
        self.certificate = self.folder / "no" / "ms.pem"
        self.assertEqual(
            self.mistake(), f"{self.folder}/no: there is no such directory; make it first"
        )
        self.assertEqual(self.left(), [])

    def test_directory_that_is_none(self) -> None:
        """A file on the way."""
        (self.folder / "file").touch()
        self.key = self.folder / "file" / "ms.key"
        self.assertIn(f"{self.folder}/file: there is no such directory", self.mistake())

    def test_directory_in_the_place_of_a_file(self) -> None:
        """Not even --force removes it."""
        self.key.mkdir()
        self.assertIn("exists already", self.mistake())
        self.assertEqual(self.mistake("--force"), f"{self.key}: can't be written: Is a directory")

    def test_place_where_nobody_may_write(self) -> None:
        """What the kernel says."""

        def refuse(path: str, flags: int, mode: int) -> int:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

        self.patch(os, "open", refuse)
        self.assertEqual(self.mistake(), f"{self.key}: can't be written: Permission denied")

    def test_one_file_for_both(self) -> None:
        """They have different readers."""
        self.certificate = self.key
        self.assertIn("need a file each", self.mistake())

    def test_names_and_days_that_are_none(self) -> None:
        """Named with their option."""
        self.assertIn(
            "--name=a b: neither an IP address nor a DNS name", self.mistake("--name", "a b")
        )
        for days in ("0", "-1", "36501", "x", "1.5"):
            self.assertIn(
                f"--days {days}: not a number from 1 to 36500", self.mistake(f"--days={days}")
            )
        self.assertEqual(self.left(), [])

    def test_host_name_that_is_none(self) -> None:
        """The sentence says what to do."""
        self.patch(socket, "gethostname", lambda: "my host")
        self.assertEqual(self.mistake(), "this machine's host name is no DNS name; give --name")
