"""A headless Chromium over a live Map-Server, in a thread of its own: Playwright has a loop there.

Started for the first test that wants it, and gone with the last one.
"""

from __future__ import annotations

import atexit
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.running import CHECKOUT

try:
    from playwright.sync_api import sync_playwright
except ImportError:
    sync_playwright = None  # type: ignore[assignment]

__all__ = ["CHROMIUM", "SCREENSHOTS", "Ground", "Stage", "is_missing"]

CHROMIUM = "/usr/bin/chromium"
SCREENSHOTS = CHECKOUT / "build" / "screenshots"
PATIENCE = 60.0
"""Seconds after which something will never come about, however slow the machine is."""

_FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def is_missing() -> str:
    """Return why there is no browser; an empty text where there is one."""
    if sync_playwright is None:
        return "playwright is not installed"
    return "" if Path(CHROMIUM).exists() else f"there is no {CHROMIUM}"


class Ground:
    """The server's process."""

    def __init__(self, directory: str, *options: str, module: str = "tests.browser_ground") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *options],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.facts = self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line or '{"failed": "the ground has ended"}')
        assert "failed" not in answer, answer["failed"]
        return answer

    def _write(self, *words: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()

    def do(self, *words: object) -> None:
        """Have something happen, and wait until it has."""
        self._write(*words)
        self._answer()

    def pause(self, *, is_paused: bool) -> None:
        """Have the process stand still, or go on."""
        self._process.send_signal(19 if is_paused else 18)  # SIGSTOP, SIGCONT

    def close(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._write("stop")
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


class Stage:
    """Ground and browser. ``act`` runs a function in the browser's thread."""

    def __init__(self, *options: str, module: str = "tests.browser_ground") -> None:
        self._folder = TemporaryDirectory(prefix="lispmsrt-browser-")
        self._work: queue.SimpleQueue[tuple[Callable[[], Any], queue.SimpleQueue[Any]] | None]
        self._work = queue.SimpleQueue()
        self._options, self._module = options, module
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.ground: Ground
        self.browser: Any
        self.act(lambda: None)
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        atexit.register(self.close)

    def act(self, work: Callable[[], Any]) -> Any:
        """Run a function where the browser lives; raises what it raises."""
        answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._work.put((work, answer))
        kind, value = answer.get(timeout=PATIENCE * 5)
        if kind == "failed":
            raise value
        return value

    def close(self) -> None:
        """End both."""
        atexit.unregister(self.close)
        if self._thread.is_alive():
            self._work.put(None)
            self._thread.join(PATIENCE)
        self._folder.cleanup()

    def _run(self) -> None:
        failure: BaseException | None = None
        try:
            self.ground = Ground(self._folder.name, *self._options, module=self._module)
            try:
                with sync_playwright() as playwright:
                    self.browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
                    self._serve()
                    self.browser.close()
            finally:
                self.ground.close()
        except BaseException as raised:  # it is told to whoever waits
            failure = raised
        while failure is not None and (work := self._work.get()) is not None:
            work[1].put(("failed", failure))

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            function, answer = work
            try:
                answer.put(("done", function()))
            except BaseException as raised:  # the same
                answer.put(("failed", raised))
