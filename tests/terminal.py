"""A program on a pseudo terminal, as a person at one has it: what tests/cli/at_terminal.py and
tests/guest/run.py share.
"""

import os
import pty
import select
import signal
import termios
import time

PROMPT = b"(cbit) "  # the monitor's


class AtTerminal:
    """cbit as the leader of a session with a terminal of its own; a context manager."""

    def __init__(self, words, hangs_s=120):
        self.words = [str(word) for word in words]
        self.hangs_s = hangs_s
        self.output = b""

    def __enter__(self):
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        pid = os.fork()
        if pid == 0:
            os.close(self.master)
            os.login_tty(self.slave)
            os.environ["TERM"] = "dumb"
            os.execv(self.words[0], self.words)
        self.pid = pid
        self.status = None
        return self

    def __exit__(self, *_):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.slave)
        os.close(self.master)

    def read(self, seconds):
        if select.select([self.master], [], [], seconds)[0]:
            try:
                self.output += os.read(self.master, 65536)
            except OSError:
                pass

    def wait_for(self, text):
        """What came up to `text` and with it; what comes behind it is left."""
        deadline = time.monotonic() + self.hangs_s
        while text not in self.output:
            if time.monotonic() > deadline:
                raise AssertionError(f"{text} did not come; what did: {self.output}")
            self.read(1)
        end = self.output.index(text) + len(text)
        taken, self.output = self.output[:end], self.output[end:]
        return taken

    def type(self, keys):
        os.write(self.master, keys)

    def end(self):
        """The exit status, or minus the signal, once it has ended."""
        deadline = time.monotonic() + self.hangs_s
        while True:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            self.read(0.05)
            if done:
                self.status = os.waitstatus_to_exitcode(status)
                return self.status
            if time.monotonic() > deadline:
                raise AssertionError(f"it did not end; what came: {self.output}")

    def is_raw(self):
        return termios.tcgetattr(self.slave)[3] & (termios.ICANON | termios.ECHO | termios.ISIG) == 0

    def is_as_before(self):
        return termios.tcgetattr(self.slave) == self.before

    def wait_until(self, condition):
        deadline = time.monotonic() + self.hangs_s
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError("it did not come to that")
            time.sleep(0.01)
