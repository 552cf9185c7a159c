#!/usr/bin/env python3
r"""Runs a file of commands against the built cbit and compares what they print.

usage: tests/cli/run.py PROGRAM FILE.test

    # a comment
    $ cbit lab run tests/lab/example.toml | head -1     a command, run by bash
    > ...                                               its continuation: `\` at the end, or a here-document
    verdict: ...                                        expected on stdout; `...` is any text
    ...                                                 any number of lines
    ! cbit: warning: ...                                expected on stderr
    ? 1                                                 expected exit status; 0 if not given

A command that has no expected lines must print none; empty lines at the end do not count. An output line that
begins with one of `$ > # ! ? \` is written with a `\` in front.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from console import Step, run_all


def parse(text):
    """The steps of a file; a ValueError names the line that is not of the format."""
    steps = []
    for number, line in enumerate(text.splitlines(), 1):
        mark, rest = line[:1], line[2:]
        if mark == "#":
            continue
        if mark == "$":
            steps.append(Step(number, rest))
        elif not steps:
            if line:
                raise ValueError(f"{number}: expected a command: '$ ...'")
        elif mark == ">":
            steps[-1].command += "\n" + rest
        elif mark == "!":
            steps[-1].stderr.append(rest)
        elif mark == "?":
            steps[-1].status = int(rest)
        else:
            steps[-1].stdout.append(line[1:] if mark == "\\" else line)
    if not steps:
        raise ValueError("1: no command")
    return steps


def main():
    program, path = sys.argv[1:]
    try:
        steps = parse(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        sys.exit(f"{path}:{error}")
    return 1 if run_all(program, path, steps) else 0


if __name__ == "__main__":
    sys.exit(main())
