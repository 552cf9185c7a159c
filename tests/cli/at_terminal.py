#!/usr/bin/env python3
"""Runs cbit on a pseudo terminal, as a person at one does: raw mode, the escape key, the monitor, tables.

usage: tests/cli/at_terminal.py PROGRAM

Also holds the session of docs/run.md, "At the console", to what such a session prints. Exit status 77:
there are no pseudo terminals here.
"""

import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
import termios
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import terminal
from console import ROOT, difference, matches
from terminal import PROMPT

HANGS_S = 120
# Multiboot with addresses in its header (as in tests/cli/run.test), loaded at 1 MiB, entered at 100020h.
HEADER = (b"\x02\xb0\xad\x1b\0\0\1\0\xfe\x4f\x51\xe4\0\0\x10\0\0\0\x10\0\0\0\0\0\0\0\0\0\x20\0\x10\0")
SERIAL = b"\x66\xba\xf8\x03"                       # mov dx, 3f8h
# mov al, c; out dx, al
READY = SERIAL + b"".join(b"\xb0" + bytes([c]) + b"\xee" for c in b"ready\r\n")
# DTR and RTS, and the receiver's interrupt, without which the port lets its peer wait: mov dx, 3fch;
# mov al, 3; out dx, al; mov dx, 3f9h; mov al, 1; out dx, al.
OPEN = b"\x66\xba\xfc\x03\xb0\x03\xee\x66\xba\xf9\x03\xb0\x01\xee"
# ready, then for ever: wait for LSR's bit 0 (mov dx, 3fdh; in al, dx; test al, 1; jz), read, write back.
ECHO = OPEN + READY + b"\x66\xba\xfd\x03\xec\xa8\x01\x74\xfb\x66\xba\xf8\x03\xec\xee\xeb\xef"
ENDS = READY + b"\xb0\x05\xe6\xf4\xf4"              # mov al, 5; out f4h, al; hlt
# ESC ] 0 ; t BEL, ESC [ 1 m, ESC [ 6 n, "x"
SPEAKS = SERIAL + b"".join(b"\xb0" + bytes([c]) + b"\xee" for c in b"\x1b]0;t\x07\x1b[1m\x1b[6nx\r\n") + ECHO

program = None


class AtTerminal(terminal.AtTerminal):
    """cbit run with an image of this code."""

    def __init__(self, code, *options):
        self.folder = tempfile.TemporaryDirectory(prefix="cbit terminal ")
        image = Path(self.folder.name) / "image"
        image.write_bytes(HEADER + code)
        super().__init__([program, "run", *options, image], HANGS_S)

    def __exit__(self, *_):
        super().__exit__()
        self.folder.cleanup()


class Terminal(unittest.TestCase):
    def test_is_raw_for_the_run_and_as_before_behind_it(self):
        with AtTerminal(ECHO) as at:
            at.wait_for(b"ready\r\r\n")
            self.assertTrue(at.is_raw())
            at.type(b"\x01x")
            self.assertEqual(at.end(), 0)
            self.assertTrue(at.is_as_before())
            self.assertIn(b"ended from the console", at.output)

    def test_is_as_before_when_the_guest_ends_by_itself(self):
        with AtTerminal(ENDS) as at:
            self.assertEqual(at.end(), 11)
            self.assertTrue(at.is_as_before())
            self.assertIn(b"ready\r\r\n", at.output)

    def test_is_as_before_after_a_time_out(self):
        with AtTerminal(ECHO, "--timeout", "1") as at:
            self.assertEqual(at.end(), 124)
            self.assertTrue(at.is_as_before())

    def test_is_as_before_after_signals(self):
        for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT:
            with self.subTest(signal=number), AtTerminal(ECHO) as at:
                at.wait_for(b"ready")
                self.assertTrue(at.is_raw())
                os.kill(at.pid, number)
                self.assertEqual(at.end(), -number)
                self.assertTrue(at.is_as_before())

    def test_is_given_to_others_while_cbit_is_stopped(self):
        with AtTerminal(ECHO) as at:
            at.wait_for(b"ready")
            os.kill(at.pid, signal.SIGTSTP)  # which stops no session's leader
            time.sleep(0.2)
            at.wait_until(at.is_raw)
            os.kill(at.pid, signal.SIGSTOP)
            termios.tcsetattr(at.slave, termios.TCSANOW, at.before)  # as a shell does
            os.kill(at.pid, signal.SIGCONT)
            at.wait_until(at.is_raw)
            at.type(b"\x01x")
            self.assertEqual(at.end(), 0)
            self.assertTrue(at.is_as_before())

    def test_gives_every_key_but_ctrl_a_to_the_guest(self):
        with AtTerminal(ECHO) as at:
            at.wait_for(b"ready\r\r\n")
            at.type(b"a\x1a\x04b\x01\x01c\x7fd")
            # Shown by the guest's echo: control characters are made visible.
            at.wait_for(b"a\\x1a\\x04b\\x01c\\x7fd")
            at.type(b"\x03e")
            at.wait_for(b"\\x03e")
            at.type(b"\x01x")
            self.assertEqual(at.end(), 0)

    def test_lets_a_guest_move_the_cursor_and_not_ask_the_terminal(self):
        with AtTerminal(SPEAKS) as at:
            text = at.wait_for(b"ready")
            self.assertIn(b"\x1b[1mx\r\r\n", text)
            self.assertNotIn(b"\x1b]", text)
            self.assertNotIn(b"[6n", text)
            at.type(b"\x01x")
            self.assertEqual(at.end(), 0)
            self.assertIn(b"\x1b[0m", at.output)

    def test_has_a_monitor(self):
        with AtTerminal(ECHO) as at:
            at.wait_for(b"ready")
            at.type(b"\x01c")
            at.wait_for(PROMPT)
            at.type(b"info registers\r")
            text = at.wait_for(PROMPT)
            self.assertRegex(text, rb"EIP=001000[0-9a-f]{2} EFL=")
            at.type(b"x/1i 0x100020\r")
            self.assertIn(b"mov dx, 0x3FC", at.wait_for(PROMPT))
            at.type(b"info registers\r")
            self.assertEqual(at.wait_for(PROMPT), text, "time stands still")
            at.type(b"cont\r")
            at.type(b"k")
            at.wait_for(b"cont\r\n\r\nk")
            at.type(b"\x01cquit\r")
            self.assertEqual(at.end(), 0)
            self.assertTrue(at.is_as_before())

    def test_stands_still_with_the_monitor_open_until_the_time_is_up(self):
        with AtTerminal(ECHO, "--timeout", "2") as at:
            at.wait_for(b"ready")
            at.type(b"\x01c")
            at.wait_for(PROMPT)
            self.assertEqual(at.end(), 124)
            self.assertTrue(at.is_as_before())

    def test_is_not_taken_where_input_is_a_pipe(self):
        with AtTerminal(ECHO) as at:
            at.wait_for(b"ready")
            image = at.words[-1]
            at.type(b"\x01x")
            at.end()
            master, slave = pty.openpty()
            done = subprocess.run([program, "run", "--timeout", "5", image], input=b"q\x01xz", stdout=slave,
                                  stderr=subprocess.DEVNULL, timeout=HANGS_S, check=False)
            self.assertEqual(done.returncode, 124, "Ctrl-A means nothing there")
            self.assertIn(b"q\\x01xz", os.read(master, 65536))
            os.close(slave)
            os.close(master)


class Width(unittest.TestCase):
    """What a table takes of a terminal's line; tests/cli/columns.test has the rest."""

    @staticmethod
    def lines_at(columns, *words):
        with terminal.AtTerminal(["/bin/sh", "-c", f'stty cols {columns} && exec "$0" "$@"', program, *words],
                                 HANGS_S) as at:
            assert at.end() == 0, at.output
            at.read(0.1)
            return at.output.decode().replace("\r\n", "\n").splitlines()

    def test_is_that_of_the_terminal(self):
        for columns in 50, 72:
            lines = self.lines_at(columns, "table")
            self.assertGreater(len(lines), 6)
            self.assertLessEqual(max(map(len, lines)), columns)

    def test_is_without_limit_where_the_terminal_has_none(self):
        listed = subprocess.run([program, "table"], capture_output=True, text=True, check=True).stdout
        self.assertEqual(self.lines_at(0, "table"), listed.splitlines())


class Document(unittest.TestCase):
    """docs/run.md has a session: `(cbit) COMMAND`, and what the monitor answers."""

    def test_shows_what_the_monitor_answers(self):
        text = (ROOT / "docs/run.md").read_text(encoding="utf-8")
        section = re.search(r"^## At the console$(.*?)^## ", text, re.MULTILINE | re.DOTALL).group(1)
        block = re.search(r"```text\n(.*?)```", section, re.DOTALL).group(1)
        steps = re.split(r"^\(cbit\) (.*)\n", block, flags=re.MULTILINE)[1:]
        self.assertGreater(len(steps), 4)
        with AtTerminal(ECHO, "--sev") as at:
            at.wait_for(b"ready")
            at.type(b"\x01c")
            at.wait_for(PROMPT)
            for command, expected in zip(steps[::2], steps[1::2]):
                at.type(command.encode() + b"\r")
                if command == "quit":
                    break
                answer = at.wait_for(PROMPT)[:-len(PROMPT)].decode().replace("\r\n", "\n")
                answer = answer.removeprefix(command + "\n")
                self.assertTrue(matches(expected.splitlines(), answer),
                                difference(command, expected.splitlines(), answer))
            self.assertEqual(at.end(), 0)


def main():
    global program
    program = str(Path(sys.argv[1]).resolve())
    try:
        for end in pty.openpty():
            os.close(end)
    except OSError as error:
        print(f"skipped: there are no pseudo terminals: {error}")
        return 77
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules[__name__])
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
