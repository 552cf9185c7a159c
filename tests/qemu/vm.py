"""Runs QEMU: a guest that reports and powers itself off, or a QMP session."""

import json
import os
import signal
import socket
import subprocess
from collections import defaultdict
from dataclasses import dataclass

TAIL_LINES = 30
# What takes longer hangs: a guest boots in 10 seconds, on a loaded machine of one core in some minutes.
HANGS_S = 900


@dataclass
class Outcome:
    """How a QEMU ended, and what its guest said."""
    words: list
    status: int | None  # None: it was killed after the timeout
    console: str  # stdout and stderr of QEMU, where the first serial port is
    report: str  # the second serial port

    def lines(self):
        """{key: [the rest of each line of that key, in words]}"""
        found = defaultdict(list)
        for line in self.report.splitlines():
            key, _, rest = line.partition(" ")
            found[key].append(rest.split())
        return found

    def __str__(self):
        """For whoever reads of a failure."""
        ended = "killed after its time was up" if self.status is None else f"exit status {self.status}"
        tail = self.console.splitlines()[-TAIL_LINES:]
        return "\n".join(["", f"$ {' '.join(self.words)}", f"({ended})",
                          "--- reported:", self.report.rstrip(),
                          f"--- last {len(tail)} lines of the console:", *tail])


def finish(process, timeout_s):
    """The exit status and output of a process whose whole group is killed when its time is up."""
    try:
        output, _ = process.communicate(timeout=timeout_s)
        return process.returncode, output
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return None, output


def report_to(path):
    """QEMU's options that make a guest of tests/qemu/guest report to a file."""
    return ["-no-reboot", "-serial", f"file:{path}"]


def run(words, timeout_s=HANGS_S, report=None):
    """Runs a command that starts QEMU to its end."""
    process = subprocess.Popen(words, start_new_session=True, text=True, encoding="utf-8", errors="replace",
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    status, console = finish(process, timeout_s)
    said = report.read_text(encoding="utf-8", errors="replace") if report and report.exists() else ""
    return Outcome(words, status, console, said)


class QmpError(Exception):
    """QEMU answers a command with an error, or not at all."""


class Qmp:
    """A QEMU that is asked over QMP; a context manager. Its standard streams stay free for the guest."""

    def __init__(self, words, timeout_s=HANGS_S):
        self.words = words
        self.timeout_s = timeout_s

    def __enter__(self):
        ours, theirs = socket.socketpair()
        ours.settimeout(self.timeout_s)
        self.messages = ours.makefile("rw", encoding="utf-8")
        monitor = ["-chardev", f"socket,id=qmp,fd={theirs.fileno()}", "-mon", "chardev=qmp,mode=control"]
        with ours, theirs:
            self.process = subprocess.Popen([*self.words, *monitor], pass_fds=[theirs.fileno()], text=True,
                                            start_new_session=True, stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            self.answer("QMP")
            self.ask("qmp_capabilities")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.messages.close()
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def answer(self, *keys):
        """The next message that has one of the keys; those between are events."""
        try:
            for line in self.messages:
                message = json.loads(line)
                if any(key in message for key in keys):
                    return message
        except OSError:  # it does not answer in time, or has closed the connection
            pass
        _, said = finish(self.process, timeout_s=5)
        raise QmpError("\n".join([f"QEMU does not answer: {' '.join(self.words)}", said]))

    def ask(self, command, **arguments):
        self.messages.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.messages.flush()
        message = self.answer("return", "error")
        if "error" in message:
            raise QmpError(f"{command} {arguments}: {message['error']['desc']}")
        return message["return"]
