"""Guests without encryption, planned and started by cbit launch: told to bounce, and not told to."""

import hashlib
import random
import tempfile
import unittest
from pathlib import Path

import under_test

DISK_BYTES = 8 << 20
# Feature bits: virtio 1.2, 6. In sysfs, bit 0 is the first digit.
VERSION_1, ACCESS_PLATFORM = 32, 33
DRIVER_OK = 4


class Guest:
    """What a guest reported: see guest/disks.sh."""

    def __init__(self, outcome):
        lines = outcome.lines()
        if "end" not in lines:
            raise AssertionError(f"the guest did not come to its end{outcome}")
        self.outcome = outcome
        self.troubles = lines["trouble"]
        self.pool_slots = sum(int(slots) for slots, in lines["pool_slots"])
        self.features = {driver: features for _, driver, _, features in lines["virtio"]}
        self.status = {driver: int(status, 0) for _, driver, status, _ in lines["virtio"]}
        self.disks = {name: rest for name, *rest in lines["disk"]}

    def has_feature(self, driver, bit):
        return self.features[driver][bit] == "1"

    def sum_of(self, disk):
        return self.disks[disk][1]

    def bounced_bytes(self, disk):
        return int(self.disks[disk][3])


class BootedGuest:
    """The tests that every boot has to pass; a subclass says in start() how to boot."""

    @classmethod
    def setUpClass(cls):
        contents = random.Random(20).randbytes(DISK_BYTES)
        cls.disk_sum = hashlib.sha256(contents).hexdigest()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "disk").write_bytes(contents)
            cls.guest = Guest(cls.start(folder, ["--disk", str(folder / "disk")]))

    def test_runs_to_its_end_and_powers_itself_off(self):
        self.assertEqual(self.guest.outcome.status, 0, self.guest.outcome)
        self.assertEqual(self.guest.troubles, [], self.guest.outcome)

    def test_drives_every_virtio_device_of_the_plan_as_a_modern_one(self):
        self.assertEqual(set(self.guest.features), {"virtio_blk", "virtio_rng"}, self.guest.outcome)
        for driver, status in self.guest.status.items():
            self.assertTrue(status & DRIVER_OK, f"{driver}: status {status:#x}")
            self.assertTrue(self.guest.has_feature(driver, VERSION_1), driver)

    def test_reads_from_its_disk_what_the_image_contains(self):
        self.assertEqual(self.guest.sum_of("vda"), self.disk_sum, self.guest.outcome)


class GuestThatIsToldToBounce(BootedGuest, unittest.TestCase):
    @staticmethod
    def start(folder, disk):
        return under_test.boot(folder, *under_test.kernel_options(folder, ["disks"], "swiotlb=force"), *disk)

    def test_negotiates_access_platform_with_every_virtio_device(self):
        for driver in self.guest.features:
            self.assertTrue(self.guest.has_feature(driver, ACCESS_PLATFORM), driver)

    def test_reads_every_byte_of_its_disk_through_the_bounce_pool(self):
        self.assertGreater(self.guest.pool_slots, 0)
        self.assertGreaterEqual(self.guest.bounced_bytes("vda"), DISK_BYTES, self.guest.outcome)


class GuestThatIsNotToldToBounce(BootedGuest, unittest.TestCase):
    @staticmethod
    def start(folder, disk):
        return under_test.boot(folder, *under_test.kernel_options(folder, ["disks"]), *disk)

    def test_negotiates_access_platform_all_the_same(self):
        for driver in self.guest.features:
            self.assertTrue(self.guest.has_feature(driver, ACCESS_PLATFORM), driver)

    def test_has_no_pool_and_bounces_nothing(self):
        self.assertEqual(self.guest.pool_slots, 0)
        self.assertEqual(self.guest.bounced_bytes("vda"), 0)


class GuestWhoseDevicesDoNotOfferAccessPlatform(BootedGuest, unittest.TestCase):
    """The plan with iommu_platform= taken out: what it is there for does not happen."""

    @staticmethod
    def start(folder, disk):
        options = under_test.kernel_options(folder, ["disks"], "swiotlb=force")
        words = under_test.plan(*under_test.SMALL, *under_test.EMULATED, *options, *disk)["words"]
        without = [word.replace(",iommu_platform=on", "") for word in words]
        changed = sum(one != other for one, other in zip(words, without))
        assert changed == 2, f"{changed} virtio devices in {words} offer it, not disk and entropy source"
        return under_test.boot_words(folder, without)

    def test_does_not_negotiate_access_platform(self):
        for driver in self.guest.features:
            self.assertFalse(self.guest.has_feature(driver, ACCESS_PLATFORM), driver)

    def test_goes_past_the_pool_although_the_kernel_is_told_to_bounce(self):
        self.assertGreater(self.guest.pool_slots, 0)
        self.assertEqual(self.guest.bounced_bytes("vda"), 0, self.guest.outcome)
