"""Plans for SEV on a machine without SEV: QEMU takes every option up to the first that needs the hardware."""

import tempfile
import unittest
from pathlib import Path

import under_test
import vm

# A host that has both.
EPYC = ("--root", "tests/doctor/epyc-snp-iommu-pt")
EPYC_NUMBERS = (51, 1)
# The numbers of a host, for a plan that this one has to start.
OF_SOME_EPYC = ("--cbitpos", "51", "--reduced-phys-bits", "1")
PROTECTIONS = ("sev", "sev-es")  # that QEMU 7.2 has
# What QEMU says where the hardware is missing, and what cbit launch makes of it. Which of them comes first
# depends on the machine: on KVM, on its processor, on the driver of the security processor.
HARDWARE_IS_MISSING = {
    "Could not access KVM kernel module": ("no /dev/kvm", "may not open /dev/kvm"),
    "sev_kvm_init: cbitpos check failed, host '0'": ("C-bit",),
    "sev_kvm_init: Failed to open /dev/sev": ("/dev/sev",),
}


def forced(protection, *more):
    return ("--protection", protection, "--force", *OF_SOME_EPYC, *more)


def missing_hardware(text):
    """The message of QEMU's that the text has, or None."""
    return next((message for message in HARDWARE_IS_MISSING if message in text), None)


@unittest.skipIf(Path("/dev/sev").exists(), "this machine has SEV, so the guests would start")
class SevPlanOnAMachineWithoutSev(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        folder = Path(holder.name)
        (folder / "disk").write_bytes(bytes(1 << 20))
        self.devices = [*under_test.kernel_options(folder, ["disks"]), "--disk", str(folder / "disk"),
                        "--memory", "256M"]

    def test_is_refused_unless_it_is_forced(self):
        for protection in PROTECTIONS:
            with self.subTest(protection):
                done = under_test.launch("--protection", protection, *OF_SOME_EPYC, *self.devices)
                self.assertEqual((done.returncode, done.stdout), (65, ""), done.stderr)
                self.assertIn("--force", done.stderr)

    def test_fails_at_the_hardware_and_says_so_when_it_is_run(self):
        for protection in PROTECTIONS:
            with self.subTest(protection):
                words = [str(under_test.program), "launch", *forced(protection), *self.devices, "--run"]
                ended = vm.run(words)
                self.assertNotIn(ended.status, (0, None), ended)
                message = missing_hardware(ended.console)
                self.assertIsNotNone(message, ended)
                # QEMU's own words come first, then ours.
                ours = ended.console[ended.console.rindex("cbit: "):]
                self.assertTrue(any(cause in ours for cause in HARDWARE_IS_MISSING[message]), ended)
                self.assertGreaterEqual(len(ours.splitlines()), 2, f"no remedy{ended}")

    def test_is_accepted_whole_once_the_hardware_is_left_out(self):
        for protection in PROTECTIONS:
            with self.subTest(protection):
                words = under_test.plan("--protection", protection, *EPYC, *self.devices)["words"]
                with vm.Qmp([*without_hardware(words), "-S"]) as qemu:
                    self.assertEqual(qemu.ask("query-status")["status"], "prelaunch")
                    self.expect_protection(qemu, protection)
                    self.expect_shared_access_only(qemu)

    def expect_protection(self, qemu, protection):
        """The object that the plan describes is there, with its numbers."""
        def of(key):
            return qemu.ask("qom-get", path="/objects/sev0", property=key)
        self.assertEqual(of("type"), "sev-guest")
        self.assertEqual((of("cbitpos"), of("reduced-phys-bits")), EPYC_NUMBERS)
        # SEV API, chapter 3: bit 0 no debugging, bit 1 no sharing of the key, bit 2 encrypted state.
        self.assertEqual(of("policy") & 0b111, 0b111 if protection == "sev-es" else 0b011)

    def expect_shared_access_only(self, qemu):
        found = set()
        for child in qemu.ask("qom-list", path="/machine/peripheral-anon") + \
                qemu.ask("qom-list", path="/machine/peripheral"):
            kind = child["type"].removeprefix("child<").removesuffix(">")
            if not kind.startswith("virtio-"):
                continue
            found.add(kind)
            folder = "peripheral-anon" if child["name"].startswith("device[") else "peripheral"
            at = f"/machine/{folder}/{child['name']}"
            self.assertTrue(qemu.ask("qom-get", path=at, property="iommu_platform"), kind)
            self.assertEqual(qemu.ask("qom-get", path=at, property="disable-legacy"), "on", kind)
        self.assertEqual(found, {"virtio-blk-pci", "virtio-rng-pci"})


def without_hardware(words):
    """The same command for QEMU's own processor: the objects stay, and are no longer used."""
    changed = []
    for option, word in zip([None, *words], words):
        if option == "-machine":
            parts = [part for part in word.split(",") if not part.startswith(("confidential-guest-support=",
                                                                              "kernel-irqchip="))]
            word = ",".join(parts)
        elif option == "-accel":
            word = "tcg"
        elif option == "-cpu":
            word = "max"
        changed.append(word)
    assert changed != words, words
    return changed
