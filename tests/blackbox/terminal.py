# SPDX-License-Identifier: MIT
"""A terminal for programs that want one, and what they draw on it."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

from program import DEADLINE

CONTROL = re.compile(r"\x1b(?:\[([?0-9;]*)([@-~])|\][^\x07]*\x07|[^\[\]])")
"""A sequence that moves the cursor, sets a mode or a colour."""


class Terminal:
    """A pseudo terminal with a program on it. It understands what full-screen programs send, no more."""

    def __init__(self, *command, rows: int = 24, columns: int = 100):
        self.own, theirs = pty.openpty()
        self.other = theirs
        self.rows, self.columns = rows, columns
        self.alternate, self.cursor = False, True
        self.lines: list[list[str]] = []
        self.at = (0, 0)
        self.rest, self.decoder = "", codecs.getincrementaldecoder("utf-8")()
        self.clear()
        self._size()
        self.settings = termios.tcgetattr(theirs)

        def controlling() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        environment = os.environ | {"TERM": "xterm-256color"}
        self.process = subprocess.Popen([*map(str, command)], stdin=theirs, stdout=theirs, stderr=theirs, env=environment, preexec_fn=controlling)

    def _size(self) -> None:
        fcntl.ioctl(self.own, termios.TIOCSWINSZ, struct.pack("HHHH", self.rows, self.columns, 0, 0))

    def resize(self, rows: int, columns: int) -> None:
        """As a window is; the program is told."""
        self.rows, self.columns = rows, columns
        self.clear()
        self._size()

    def press(self, keys: str) -> None:
        os.write(self.own, keys.encode())

    def clear(self) -> None:
        self.lines = [[" "] * self.columns for _ in range(self.rows)]

    # --- what it shows

    def look(self) -> str:
        """All that is on it."""
        while select.select([self.own], [], [], 0)[0]:
            self._take(self.decoder.decode(os.read(self.own, 65536)))
        return "\n".join("".join(line).rstrip() for line in self.lines)

    def shows(self, wanted: str) -> re.Match:
        """Waits until it shows what the expression `wanted` finds."""
        end = time.monotonic() + DEADLINE
        while not (found := re.search(wanted, seen := self.look(), re.MULTILINE)):
            assert time.monotonic() < end, f"{wanted!r} does not come on the screen:\n{seen}"
            time.sleep(0.01)
        return found

    def _take(self, text: str) -> None:
        text = self.rest + text
        self.rest = ""
        while text:
            if text[0] != "\x1b":
                self._put(text[0])
                text = text[1:]
            elif found := CONTROL.match(text):
                self._control(found[1] or "", found[2])
                text = text[found.end() :]
            else:
                self.rest = text
                return

    def _put(self, character: str) -> None:
        row, column = self.at
        if character == "\r":
            self.at = (row, 0)
        elif character == "\n":
            self.at = (min(row + 1, self.rows - 1), column)
        else:
            if row < self.rows and column < self.columns:
                self.lines[row][column] = character
            self.at = (row, column + 1)

    def _control(self, parameters: str, final: str | None) -> None:
        if final == "H":
            row, column = ([int(number or 1) for number in parameters.split(";")] + [1, 1])[:2]
            self.at = (row - 1, column - 1)
        elif final == "J":
            self.clear()
        elif final in ("h", "l"):
            if "?1049" in parameters:
                self.alternate = final == "h"
                self.clear()
            if "?25" in parameters.split(";"):
                self.cursor = final == "h"

    # --- its end

    def ended(self) -> int:
        """Waits until the program has ended; its exit status. The terminal must be as it was."""
        status = self.process.wait(DEADLINE)
        self.look()
        assert not self.alternate and self.cursor, "the screen was not given back"
        assert termios.tcgetattr(self.other) == self.settings
        return status

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.own)
        os.close(self.other)
