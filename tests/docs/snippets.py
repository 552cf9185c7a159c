#!/usr/bin/env python3
"""Writes the C and C++ of documents and headers to files, so that it is compiled and run as it stands there.

usage: tests/docs/snippets.py FOLDER FILE...

A block of a document that is fenced as ```cpp or ```c is a file. The example in the comment that opens a public
header is the body of a test. Each file begins with a #line, so that a compiler names the document. Prints
the paths, one a line; what is written already stays as it is.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from run import blocks

SUFFIX = {"cpp": ".cpp", "c": ".c"}
EXAMPLE = re.compile(r"//   (.*)")


def of_document(lines):
    """(suffix, text) of each block, from its first line on."""
    for number, language, body in blocks(lines):
        if language in SUFFIX:
            yield SUFFIX[language], number + 1, "\n".join(body)


def of_header(path, lines):
    comment = lines[:lines.index("#pragma once")]
    body = [(number, match[1]) for number, line in enumerate(comment, 1) if (match := EXAMPLE.fullmatch(line))]
    if body:
        before = f'#include "cbit/{path.name}"\n#include <gtest/gtest.h>\nTEST(Header, {path.stem.title()}) {{\n'
        code = "\n".join(line for _, line in body)
        yield ".cpp", body[0][0], (before, code)


def write(path, text):
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    print(path)


def main():
    folder = Path(sys.argv[1])
    for source in map(Path, sys.argv[2:]):
        lines = source.read_text(encoding="utf-8").splitlines()
        found = of_header(source, lines) if source.suffix == ".hpp" else of_document(lines)
        for suffix, number, text in found:
            before, code = text if isinstance(text, tuple) else ("", text)
            after = "\n}\n" if before else "\n"
            write(folder / f"{source.stem}_{number}{suffix}", f'{before}#line {number} "{source}"\n{code}{after}')


if __name__ == "__main__":
    main()
