#!/usr/bin/env python3
"""Boots real kernels by cbit run, and reads what they say themselves.

usage: tests/guest/run.py PROGRAM [KERNEL...]

Kernels are those named, else every vmlinuz in the folder that CBIT_TEST_KERNELS names, else those in /boot.
Ends with 77, as ctest has it for skipped tests, where there is none, or no static busybox.
"""

import os
import subprocess
import sys
import time
import unittest
from pathlib import Path

SKIPPED = 77
# A boot takes well under a minute; on a loaded machine of one core some minutes.
HANGS_S = 900
MARKER = "plain-text-of-the-guest"

program = None
kernels = []


def find_kernels():
    folder = Path(os.environ.get("CBIT_TEST_KERNELS", "/boot"))
    return sorted(path for path in folder.rglob("vmlinuz*") if path.is_file() and os.access(path, os.R_OK))


class Boot:
    """One run of cbit: its exit status, the command's output, the kernel's console."""

    def __init__(self, kernel, *options, command):
        words = [program, "run", *options, "--stats", "--timeout", str(HANGS_S), kernel, "--", *command]
        began = time.monotonic()
        done = subprocess.run(words, text=True, encoding="utf-8", errors="replace", stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=HANGS_S + 60)
        self.seconds = time.monotonic() - began
        self.status, self.output, self.console = done.returncode, done.stdout, done.stderr
        self.words = words

    def __str__(self):
        tail = self.console.splitlines()[-40:]
        return "\n".join(["", f"$ {' '.join(map(str, self.words))}", f"(exit status {self.status})",
                          "--- output:", self.output, f"--- last {len(tail)} lines of the console:", *tail])


class Kernels(unittest.TestCase):
    def each(self, *options, command):
        for kernel in kernels:
            with self.subTest(kernel=kernel.name):
                boot = Boot(kernel, *options, command=command)
                print(f"{kernel.name} {' '.join(options)}: {boot.seconds:.1f} s", flush=True)
                yield kernel, boot

    def test_runs_a_command_and_powers_off(self):
        for kernel, boot in self.each(command=["sh", "-c", "uname -r; exit 3"]):
            self.assertEqual(boot.status, 3, boot)
            self.assertEqual(boot.output.strip(), kernel.name.removeprefix("vmlinuz-"), boot)
            self.assertIn("reboot: Power down", boot.console, boot)

    def test_finds_sev_active(self):
        for _, boot in self.each("--sev", command=["dmesg"]):
            self.assertEqual(boot.status, 0, boot)
            self.assertRegex(boot.output, "Memory Encryption (Features|is) active: AMD SEV", boot)
            self.assertRegex(boot.output, "software IO TLB: mapped", boot)

    def test_finds_sme_active(self):
        for _, boot in self.each("--sme", command=["dmesg"]):
            self.assertEqual(boot.status, 0, boot)
            self.assertRegex(boot.output, "Memory Encryption (Features|is) active: AMD SME", boot)

    def test_finds_no_encryption_where_there_is_none(self):
        for _, boot in self.each(command=["dmesg"]):
            self.assertEqual(boot.status, 0, boot)
            self.assertNotIn("Memory Encryption", boot.output, boot)


def main():
    global program, kernels
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    program = str(Path(sys.argv[1]).resolve())
    kernels = [Path(name) for name in sys.argv[2:]] or find_kernels()
    if not kernels:
        print("skipped: there is no kernel that can be read")
        return SKIPPED
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Kernels)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
