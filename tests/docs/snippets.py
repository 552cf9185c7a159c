#!/usr/bin/env python3
"""Writes the C and C++ of documents and headers to files, to be compiled and run as it stands there.

usage: tests/docs/snippets.py FOLDER FILE...

A block of a document that is fenced as ```cpp or ```c is a file. The example in the comment that opens a
public header is the body of a test. Each begins with a #line, so that a compiler names the document. Prints
the paths, one a line; what is written already stays as it is.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from run import blocks

SUFFIX = {"cpp": ".cpp", "c": ".c"}
EXAMPLE = re.compile(r"//   (.*)")
TEST_OF_HEADER = """#include "cbit/{name}"
#include <gtest/gtest.h>
TEST(Header, {title}) {{
{code}}}
"""


def numbered(source, number, lines):
    """The lines, for a compiler those of `source` from that number on."""
    return f'#line {number} "{source}"\n' + "".join(f"{line}\n" for line in lines)


def of_document(source, lines):
    """(number of the first line, suffix, text) of each block."""
    for number, language, body in blocks(lines):
        if language in SUFFIX:
            yield number + 1, SUFFIX[language], numbered(source, number + 1, body)


def of_header(source, lines):
    comment = lines[:lines.index("#pragma once")]
    examples = [(number, match[1]) for number, line in enumerate(comment, 1)
                if (match := EXAMPLE.fullmatch(line))]
    if examples:
        first = examples[0][0]
        code = numbered(source, first, [line for _, line in examples])
        yield first, ".cpp", TEST_OF_HEADER.format(name=source.name, title=source.stem.title(), code=code)


def write(path, text):
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    print(path)


def main():
    folder = Path(sys.argv[1])
    for source in map(Path, sys.argv[2:]):
        lines = source.read_text(encoding="utf-8").splitlines()
        read = of_header if source.suffix == ".hpp" else of_document
        for number, suffix, text in read(source, lines):
            write(folder / f"{source.stem}_{number}{suffix}", text)


if __name__ == "__main__":
    main()
