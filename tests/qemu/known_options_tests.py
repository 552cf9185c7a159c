"""Every option and property of every plan is one that the installed QEMU knows.

Plans are made for captured hosts: what the host of the test can do has no part in them.
"""

import itertools
import json
import shlex
import unittest
from pathlib import Path

import under_test
from known_options import KnownOptions

CAPTURED = Path(__file__).resolve().parent.parent / "doctor"
HOSTS = sorted(path for path in CAPTURED.iterdir() if path.is_dir())
# With KVM and SEV, and with neither.
PLANNED_FOR = (CAPTURED / "epyc-sme", CAPTURED / "snp-guest-nvme")
OF_SOME_EPYC = ("--cbitpos", "51", "--reduced-phys-bits", "1", "--force")
# The release that each object came with: QEMU's qapi/qom.json.
SINCE = {"none": (6, 0), "sev": (6, 0), "sev-es": (6, 0), "sev-snp": (9, 1), "tdx": (10, 1)}
DISKS = ((), ("--disk", "disk.img"), ("--disk", "a,,b.img,ro,id=root", "--disk", "c.img,format=qcow2"))
NETS = ((), ("--net", "user,hostfwd=tcp::2222-:22"), ("--net", "tap,ifname=tap0,vhost=on"))
OTHERS = ((), ("--vsock", "3", "--name", "a", "--cpus", "4", "--memory", "3G"),
          ("--kernel", "vmlinuz", "--initrd", "initrd", "--append", "console=ttyS0 a,b"),
          ("--firmware", "default"), ("--console", "none"), ("--console", "pty"), ("--console", "a.txt"),
          ("--cpu", "EPYC-Milan,-la57,+rdrand"))
# Command lines that are wrong in the ways that `--check` has options to write for.
ENCRYPTED = "qemu-system-x86_64 -machine q35,confidential-guest-support=sev0 -accel kvm -cpu host" \
            " -object sev-guest,id=sev0,cbitpos=51,reduced-phys-bits=1 "
WRONG_COMMANDS = (
    "qemu-system-x86_64 -machine q35 -accel kvm -device virtio-net-pci",
    "qemu-system-x86_64 -machine pc -accel tcg -device virtio-blk-pci,drive=d0 -drive if=none,id=d0,file=a",
    ENCRYPTED + "-device virtio-net-pci,disable-legacy=off",
    ENCRYPTED + "-device virtio-blk-pci,drive=d0,iommu_platform=off -drive if=none,id=d0,file=a",
    ENCRYPTED + "-m 1G,slots=2,maxmem=4G -smp 1,maxcpus=2",
    ENCRYPTED + "-kernel vmlinuz -bios bios.bin",
)


def plans_of(protection):
    """Requests that between them use every branch of the planner for one protection."""
    for disks, nets in itertools.product(DISKS, NETS):
        yield (*disks, *nets)
    for other in OTHERS:
        yield other
    if protection == "none":
        yield ("--accel", "tcg")
        yield ("--accel", "kvm")


class KnownOptionsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.known = cls.enterClassContext(KnownOptions(under_test.QEMU))

    def unknown(self, words):
        return self.known.unknown(words[1:])


class PlannedOptions(KnownOptionsTest):
    def test_are_known_to_this_qemu(self):
        planned = 0
        for protection, since in SINCE.items():
            if self.known.version < since:
                continue
            hardware = () if protection == "none" else OF_SOME_EPYC
            for host, options in itertools.product(PLANNED_FOR, plans_of(protection)):
                with self.subTest(host=host.name, protection=protection, options=options):
                    words = under_test.plan("--root", host, "--protection", protection, *hardware,
                                            *options)["words"]
                    self.assertEqual(self.unknown(words), [])
                    planned += 1
        self.assertGreater(planned, 3 * len(OTHERS) * len(PLANNED_FOR))

    def test_are_refused_where_this_qemu_is_too_old_for_the_object(self):
        for protection, since in SINCE.items():
            if self.known.version >= since:
                continue
            with self.subTest(protection):
                self.assertIsNone(self.known.union_members("object-add", f"{protection}-guest"))
                done = under_test.launch("--root", CAPTURED / "epyc-sme", "--protection", protection)
                self.assertEqual((done.returncode, done.stdout), (65, ""), done.stderr)
                self.assertIn("cannot be used here", done.stderr)

    def test_are_labelled_where_a_plan_for_such_an_object_is_forced(self):
        for protection, since in SINCE.items():
            if self.known.version >= since:
                continue
            with self.subTest(protection):
                plan = under_test.plan("--root", CAPTURED / "epyc-sme", "--protection", protection,
                                       *OF_SOME_EPYC)
                needs = "{}-guest needs QEMU {}.{}, this is {}.{}".format(protection, *since,
                                                                          *self.known.version)
                self.assertIn(("option-newer-than-qemu", needs),
                              [(finding["rule"], finding["detail"]) for finding in plan["findings"]])
                # Apart from the object, this QEMU knows everything of it.
                unknown = self.unknown(plan["words"])
                self.assertEqual(len(unknown), 1, unknown)
                self.assertIn(f"no type {protection}-guest", unknown[0])


class KnownOptionsThemselves(KnownOptionsTest):
    """The test tells what QEMU does not know, or it could not fail."""

    def test_names_each_unknown_option_and_property(self):
        for words, wrong in {
                "-machine q36": "no machine q36",
                "-machine q35,confidential-guest=sev0": "no property confidential-guest",
                "-accel kmv": "no accelerator kmv",
                "-cpu EPYC-v99": "no CPU model EPYC-v99",
                "-cpu EPYC,+rdrnd": "no feature +rdrnd",
                "-device virtio-blk-pci,iommu_platfrom=on": "no property iommu_platfrom",
                "-device virtio-blk-pci,drive=disk0,iommu_platform=on": "",
                "-object sev-guest,id=sev0,c-bit=51": "no property c-bit",
                "-object sev-guest,id=sev0,cbitpos=51": "",
                "-netdev user,id=net0,hostforward=": "no property hostforward",
                "-drive if=none,fromat=raw": "no property fromat",
                "-smp cpus=1,core=1": "no property core",
                "-overcommit memlock=on": "no property memlock",
                "-launch-security sev": "-launch-security is no option"}.items():
            with self.subTest(words):
                found = self.known.unknown(words.split())
                if wrong:
                    self.assertEqual(len(found), 1, found)
                    self.assertIn(wrong, found[0])
                else:
                    self.assertEqual(found, [])


class CheckedOptions(KnownOptionsTest):
    def test_of_this_qemu_are_read_by_check_as_qemu_reads_them(self):
        for option in sorted(self.known.options):
            with self.subTest(option):
                said = under_test.launch("--root", CAPTURED / "epyc-sme",
                                         "--check", f"{under_test.QEMU} -{option}").stderr
                self.assertNotIn("QEMU has no option", said)
                self.assertEqual(f"the argument of -{option} is missing" in said,
                                 self.known.takes_argument(option))

    def test_that_check_recommends_are_known_to_this_qemu(self):
        recommended = 0
        # A captured host may have a QEMU that knows objects which this one does not know yet.
        to_come = tuple(f"no type {protection}-guest" for protection, since in SINCE.items()
                        if self.known.version < since)
        for host, command in itertools.product(HOSTS, WRONG_COMMANDS):
            with self.subTest(host=host.name, command=command):
                done = under_test.launch("--root", host, "--check", command, "--json")
                self.assertEqual(done.returncode, 1, done.stderr)
                for finding in json.loads(done.stdout)["findings"]:
                    if finding["write"]:
                        unknown = [what for what in self.known.unknown(shlex.split(finding["write"]))
                                   if not what.endswith(to_come)]
                        self.assertEqual(unknown, [], finding)
                        recommended += 1
        self.assertGreater(recommended, len(HOSTS) * len(WRONG_COMMANDS))
