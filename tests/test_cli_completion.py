"""``lispmsrt completion``: scripts that shells understand, and that know every command."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.cli.commands import COMMANDS
from lispmsrt.cli.show import VIEWS
from tests.show_ground import run


class CompletionTests(SynchronousTestCase):
    """bash and zsh."""

    def script(self, shell: str) -> str:
        """Return what is printed."""
        ran = run("completion", shell)
        self.assertEqual((ran.code, ran.errors), (0, ""))
        return ran.output

    def test_every_command_and_view_is_known(self) -> None:
        """To both."""
        for shell in ("bash", "zsh"):
            script = self.script(shell)
            for name in (*COMMANDS, *(view.name for view in VIEWS), "--instance-id", "--socket"):
                self.assertIn(name, script)

    def test_bash_completes(self) -> None:
        """Commands, views, options, choices."""
        path = Path(self.mktemp())
        path.write_text(self.script("bash"))
        for words, expected in (
            (["lispmsrt", "ex"], {"explain"}),
            (["lispmsrt", "show", "sess"], {"sessions", "session"}),
            (["lispmsrt", "show", "sessions", "--transp"], {"--transport"}),
            (["lispmsrt", "show", "mappings", "--state", "ro"], {"roamed"}),
        ):
            line = " ".join(f"'{word}'" for word in words)
            program = (
                f"source {path}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1};"
                " _shtab_lispmsrt; printf '%s\\n' \"${COMPREPLY[@]}\""
            )
            ran = subprocess.run(
                ["bash", "-c", program], capture_output=True, text=True, check=False
            )
            self.assertEqual({word.strip() for word in ran.stdout.split()}, expected, ran.stderr)

    @skipUnless(shutil.which("zsh"), "needs zsh")
    def test_zsh_reads_it(self) -> None:
        """Without a complaint."""
        path = Path(self.mktemp())
        path.write_text(self.script("zsh"))
        ran = subprocess.run(["zsh", "-n", str(path)], capture_output=True, text=True, check=False)
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
