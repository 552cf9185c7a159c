"""cbit doctor in real guests with a virtio disk and an NVMe controller: told to bounce, and not told to."""

import base64
import json
import shutil
import tempfile
import unittest
from pathlib import Path

import under_test


class DoctorInAGuest:
    """The tests of every guest; a subclass has the kernel's parameters in `append`."""

    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for disk in ("virtio", "nvme"):
                (folder / disk).write_bytes(bytes(1 << 20))
            cbit = folder / "cbit"
            shutil.copy(under_test.program, cbit)
            options = under_test.kernel_options(folder, ["doctor"], *cls.append, programs=[cbit])
            cls.outcome = under_test.boot(folder, *options, "--disk", str(folder / "virtio"),
                                          more=under_test.nvme(folder / "nvme"))
            lines = cls.outcome.lines()
            if cls.outcome.status != 0 or "end" not in lines or not lines["capture"][0]:
                raise AssertionError(f"the doctor did not come to its end{cls.outcome}")
            cls.status = int(lines["doctor_status"][0][0])
            cls.live = json.loads(base64.b64decode(lines["doctor"][0][0]))
            capture = folder / "capture.tar.zst"
            capture.write_bytes(base64.b64decode(lines["capture"][0][0]))
            cls.captured = under_test.doctor("--root", capture)

    def device(self, driver):
        found = [device for device in self.live["devices"] if device["driver"] == driver]
        self.assertEqual(len(found), 1, [device["driver"] for device in self.live["devices"]])
        return found[0]

    def test_finds_a_plain_virtual_machine(self):
        self.assertTrue(self.live["system"]["virtual_machine"], self.live["system"])
        self.assertIsNone(self.live["system"]["c_bit"])

    def test_finds_nothing_that_fails(self):
        failed = [check for check in self.live["checks"] if check["state"] == "fail"]
        self.assertEqual((self.status, failed), (0, []))

    def test_says_the_same_of_its_capture(self):
        for key in ("system", "devices"):
            self.assertEqual(self.captured[key], self.live[key])
        self.assertEqual([(check["id"], check["state"]) for check in self.captured["checks"]],
                         [(check["id"], check["state"]) for check in self.live["checks"]])

    def disks_that_bounce(self):
        return {driver for driver in ("nvme", "virtio_blk")
                if any(use["bounced"] for use in self.device(driver)["uses"])}


class DoctorInAGuestThatIsToldToBounce(DoctorInAGuest, unittest.TestCase):
    append = ("swiotlb=force",)

    def test_says_that_each_disk_bounces_whatever_its_kind(self):
        self.assertEqual(self.disks_that_bounce(), {"nvme", "virtio_blk"}, self.live["devices"])

    def test_reads_the_size_of_the_pool(self):
        # Linux kernel/dma/swiotlb.c: 64 MiB of 2 KiB slots unless the command line says otherwise.
        self.assertEqual(self.live["pool"]["slots"], 32768)


class DoctorInAGuestThatIsNotToldToBounce(DoctorInAGuest, unittest.TestCase):
    append = ()

    def test_says_that_no_disk_bounces(self):
        self.assertEqual(self.disks_that_bounce(), set(), self.live["devices"])
        for driver in ("nvme", "virtio_blk"):
            self.assertNotEqual(self.device(driver)["uses"], [])

    def test_finds_no_pool(self):
        self.assertIn(self.live["pool"]["slots"], (None, 0))
