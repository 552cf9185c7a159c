#!/usr/bin/env python3
"""Runs tests that start QEMU: what cbit launch plans, and cbit doctor in a guest.

usage: tests/qemu/run.py PROGRAM CACHE TEST...     TEST: boot, no_sev, known_options, guest_doctor, record

Ends with 77, as ctest has it for skipped tests, where QEMU or the guest's kernel cannot be had.
"""

import importlib
import sys
import unittest
from pathlib import Path

import under_test
from initramfs import Missing

SKIPPED = 77


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    program, cache, *names = sys.argv[1:]
    under_test.program = Path(program).resolve()
    under_test.cache = Path(cache).resolve()
    try:
        under_test.require_components()
    except Missing as missing:
        print(f"skipped: {missing}")
        return SKIPPED
    suite = unittest.TestSuite(unittest.defaultTestLoader.loadTestsFromModule(
        importlib.import_module(f"{name}_tests")) for name in names)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    if not result.wasSuccessful() or result.testsRun == 0:
        return 1
    return SKIPPED if len(result.skipped) == result.testsRun else 0


if __name__ == "__main__":
    sys.exit(main())
