#!/usr/bin/env python3
"""Holds one document to the truth: its commands work, print what it says, and its links lead somewhere.

usage: tests/docs/run.py PROGRAM DOCUMENT.md

Every block that is fenced as ```console is a session: lines `$ command` (continued by lines `> ...`), each
followed by what it prints, stdout and stderr together. Without output lines, anything may be printed; `...`
is any text, or on a line of its own any number of lines. The exit status must be 0, unless the next command
is `echo $?`. `make` targets must exist and are not run; neither are the commands of SHOWN. Commands that can
only work elsewhere belong in a ```text or ```sh block.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from console import ROOT, Step, run_all

RUN = {"cbit", "build/release/cbit", "cat", "echo", "head", "holder", "python3", "validate"}
SHOWN = {"cd", "cmake", "ctest", "git", "sudo"}
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")


def blocks(lines):
    """(line number, language, body lines) of each fenced block."""
    opened = None
    for number, line in enumerate(lines, 1):
        if not line.lstrip().startswith("```"):
            if opened:
                opened[2].append(line)
        elif opened:
            yield tuple(opened)
            opened = None
        else:
            opened = [number, line.strip().lstrip("`").split(" ")[0], []]
    if opened:
        raise ValueError(f"{opened[0]}: the block is never closed")


def session(begin, body):
    """The steps of a console block."""
    steps = []
    for number, line in enumerate(body, begin + 1):
        if line.startswith("$ "):
            steps.append(Step(number, line[2:]))
        elif not steps:
            raise ValueError(f"{number}: a console block starts with '$ command'")
        elif line.startswith("> ") and not steps[-1].stdout:
            steps[-1].command += "\n" + line[2:]
        else:
            steps[-1].stdout.append(line)
    if not steps:
        raise ValueError(f"{begin}: an empty console block")
    return fold_statuses(steps)


def fold_statuses(steps):
    """`echo $?` becomes the expected exit status of the command before it."""
    folded = []
    for step in steps:
        if step.command.strip() == "echo $?" and folded:
            folded[-1].status = int(step.stdout[0])
        else:
            folded.append(step)
    return folded


def runnable(step):
    """The step as it is run: a make target is only looked up; None for a command that is shown only."""
    program, rest = re.match(r"(?:[A-Z_]+=\S*\s+)*(\S*)(.*)", step.command, re.DOTALL).groups()
    if program in SHOWN:
        return None
    if program == "make":
        return Step(step.line, f"make --dry-run{rest}", stdout=None)
    if program.startswith("tools/") and (ROOT / program).is_file():
        return None
    if program not in RUN:
        raise ValueError(f"{step.line}: '{program}' is not among the commands that tests/docs/run.py knows")
    if not any(line.strip() for line in step.stdout):
        step.stdout = None
    return step


def dead_links(path, lines):
    """Links to files that do not exist."""
    for number, line in enumerate(lines, 1):
        for target in LINK.findall(line):
            if "://" not in target and not (path.parent / target).exists():
                yield f"{path}:{number}: the link to {target} leads nowhere"


def main():
    program, path = sys.argv[1], Path(sys.argv[2])
    lines = path.read_text(encoding="utf-8").splitlines()
    try:
        shown = [step for number, language, body in blocks(lines) if language == "console"
                 for step in session(number, body)]
        steps = [step for step in map(runnable, shown) if step]
    except ValueError as error:
        sys.exit(f"{path}:{error}")
    dead = list(dead_links(path, lines))
    print(*dead, sep="\n", end="\n" if dead else "")
    return 1 if run_all(program, path, steps, merge=True) or dead else 0


if __name__ == "__main__":
    sys.exit(main())
