"""Commands with the output they must have: what tests/cli/run.py and tests/docs/run.py share.

Commands run in a scratch folder that shows the repository's files at their usual paths (as links), with the
tested program both as `cbit` and as `build/release/cbit`. What a command writes there is gone afterwards, and
so is what it leaves in its own $TMPDIR. Both have a blank in their names. The environment is the same on
every machine; CBIT_TEST_LOCALE and CBIT_TEST_TZ name another locale (of the program) and time zone for it.
"""

import difflib
import os
import re
import shlex
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 900  # what takes longer hangs; the longest take seconds, on a loaded machine a minute or two


@dataclass
class Step:
    """One command. Expected output is a list of lines, or None where anything goes."""
    line: int  # of the file that it came from
    command: str
    stdout: list | None = field(default_factory=list)
    stderr: list | None = field(default_factory=list)
    status: int = 0


def matches(expected, actual):
    """Does the text `actual` have the lines `expected`?

    A line `...` stands for any number of lines, `...` within a line for any text. Empty lines at the end do
    not count.
    """
    while expected and not expected[-1].strip():
        expected = expected[:-1]
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "..." else r".*?".join(map(re.escape, line.split("..."))) + r"\n"
        for line in expected)
    actual = actual.rstrip("\n")
    return re.fullmatch(pattern, actual + "\n" if actual else "") is not None


def difference(name, expected, actual):
    return "\n".join(difflib.unified_diff(expected, actual.splitlines(), f"{name} expected",
                                          f"{name} printed", lineterm=""))


class Scratch:
    """The folder that commands run in; a context manager."""

    def __init__(self, program):
        self.program = Path(program).resolve()

    def __enter__(self):
        self.holder = tempfile.TemporaryDirectory(prefix="cbit test ")
        self.folder = Path(self.holder.name) / "work"
        self.temporary = Path(self.holder.name) / "temporary files"
        self.folder.mkdir()
        self.temporary.mkdir()
        for entry in ROOT.iterdir():
            if entry.name not in ("build", ".git"):
                (self.folder / entry.name).symlink_to(entry)
        (self.folder / "build/release").mkdir(parents=True)
        self.show_program(self.folder / "build/release/cbit")
        return self

    def show_program(self, path):
        """Only the tested program speaks the other locale, not what a test takes its output apart with."""
        locale = os.environ.get("CBIT_TEST_LOCALE")
        if locale is None:
            path.symlink_to(self.program)
            return
        words = shlex.join([f"LC_ALL={locale}", str(self.program)])
        path.write_text(f'#!/bin/sh\nexec env {words} "$@"\n', encoding="utf-8")
        path.chmod(0o755)

    def __exit__(self, *_):
        self.holder.cleanup()

    def shell(self, command, merge):
        """Runs `command` with bash; `merge` sends stderr to stdout, as a terminal shows them."""
        # No more than an ordinary user's.
        others = [folder for folder in os.environ["PATH"].split(":") if not folder.endswith("/sbin")]
        path = ":".join([f"{self.folder}/build/release", f"{ROOT}/tests/cli/bin", *others])
        environment = {"PATH": path, "HOME": str(self.folder), "TMPDIR": str(self.temporary), "TERM": "dumb",
                       "LC_ALL": "C.UTF-8",
                       "TZ": os.environ.get("CBIT_TEST_TZ", "UTC")}
        if "LOCPATH" in os.environ:
            environment["LOCPATH"] = os.environ["LOCPATH"]
        return subprocess.run(["bash", "-c", command], cwd=self.folder, env=environment, text=True,
                              encoding="utf-8", errors="replace", stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT if merge else subprocess.PIPE,
                              timeout=TIMEOUT_S)

    def run(self, step, merge=False):
        """What is wrong with a step's outcome; an empty list if nothing is."""
        try:
            done = self.shell(step.command, merge)
        except subprocess.TimeoutExpired:
            return [f"still running after {TIMEOUT_S} s"]
        wrong = []
        if done.returncode != step.status:
            wrong.append(f"exit status {done.returncode}, expected {step.status}")
        for name in ("stdout", "stderr"):
            expected, actual = getattr(step, name), getattr(done, name)
            if expected is not None and actual is not None and not matches(expected, actual):
                wrong.append(difference(name, expected, actual))
        if wrong and done.stderr and step.stderr is None:
            wrong.append(f"stderr:\n{done.stderr}")
        return wrong


def run_all(program, path, steps, merge=False):
    """Runs the steps of one file, prints what is wrong with them, returns the number of steps that are."""
    failures = 0
    with Scratch(program) as scratch:
        for step in steps:
            wrong = scratch.run(step, merge)
            if wrong:
                failures += 1
                print(f"{path}:{step.line}: $ {step.command}", *wrong, "", sep="\n")
    print(f"{path}: {len(steps) - failures} of {len(steps)} commands as expected")
    return failures
