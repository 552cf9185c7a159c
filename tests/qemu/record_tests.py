"""cbit record in a guest of QEMU's that bounces all DMA, and what cbit doctor --trace says of the recording.

Newer kernels, with the events dma:*, have theirs in tests/guest/run.py.
"""

import base64
import gzip
import shutil
import tempfile
import unittest
from pathlib import Path

import initramfs
import under_test

DISK_BYTES = 2 << 20


def boot(folder):
    """NVMe is built into Debian's cloud kernels."""
    kernel = initramfs.kernel(under_test.cache)
    (folder / "nvme").write_bytes(bytes(DISK_BYTES))
    shutil.copy(under_test.program, folder / "cbit")
    initramfs.build(folder / "initrd", kernel, [under_test.GUEST / "record.sh"],
                    [folder / "cbit"], modules=())
    append = " ".join([*under_test.ALWAYS, "swiotlb=force", "secret.token=hunter2"])
    return under_test.boot(folder, "--kernel", str(kernel.image), "--initrd", str(folder / "initrd"),
                           "--append", append, more=under_test.nvme(folder / "nvme"))


class Recordings(unittest.TestCase):
    def test_agree_with_the_kernels_own_buffer_and_leave_nothing_behind(self):
        with tempfile.TemporaryDirectory() as name:
            self.judge(boot(Path(name)), Path(name))

    def judge(self, outcome, folder):
        lines = outcome.lines()
        self.assertIn("end", lines, outcome)
        self.assertEqual(lines["trouble"], [], outcome)
        self.assertEqual(lines["record_status"], [["0"]], outcome)
        text = gzip.decompress(base64.b64decode(lines["recording"][0][0]))
        (folder / "recording").write_bytes(text)
        told = under_test.doctor("--trace", folder / "recording")
        self.assertNotIn(b"hunter2", text)
        self.judge_traffic(told, lines)
        self.assertEqual(lines["instances"], [[]], outcome)
        self.assertEqual(len(lines["abandoned"][0]), 1, outcome)
        self.assertEqual(lines["bad_device_status"], [["64"]], outcome)
        self.assertEqual((lines["other_status"], lines["other_events"]), ([["0"]], [["0"]]), outcome)
        self.assertEqual(lines["left"], [[]], outcome)
        self.assertIn("mount -t tracefs", " ".join(lines["unmounted"][0]), outcome)

    def judge_traffic(self, told, lines):
        self.assertEqual((told["causes"], told["trace"]["gaps"], told["trace"]["other_events"]), ([], 0, 0))
        self.assertIn("swiotlb=force", told["command_line"])
        # Linux kernel/dma/swiotlb.c: 64 MiB of 2 KiB slots unless the command line says otherwise.
        self.assertEqual(told["swiotlb"]["slots"], 32768)
        disk, = (device for device in told["devices"] if device["bounces"])
        self.assertEqual(disk["bounces"], int(lines["bounces"][0][0]))
        self.assertEqual(disk["forced_bounces"], disk["bounces"])
        self.assertGreaterEqual(disk["bounced_bytes"], DISK_BYTES)
        self.assertEqual((disk["too_long"], disk["refused"]), (0, 0))
