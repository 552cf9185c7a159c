#!/usr/bin/env python3
"""Boots real kernels by cbit run, and reads what they say themselves.

usage: tests/guest/run.py PROGRAM [KERNEL...]

Kernels are those named, else every vmlinuz in the folder that CBIT_TEST_KERNELS names, else those in /boot,
else the one that cbit fetches. The driver of the folder driver/ is built for those whose headers are there.
Ends with 77, as ctest has it for skipped tests, where there is no kernel, or no static busybox.
"""

import functools
import hashlib
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request
import xml.etree.ElementTree as xml
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import compare
import host_programs
import two_guests
from terminal import PROMPT, AtTerminal

try:
    import jsonschema
except ImportError:
    jsonschema = None

SKIPPED = 77
# A boot takes well under a minute; on a loaded machine of one core some minutes.
HANGS_S = 900
HERE = Path(__file__).resolve().parent
DRIVER = HERE / "driver"
SCHEMA = json.loads((HERE.parent.parent / "schema/run.schema.json").read_text())
# What is wrong with each mistake of the driver in an SEV guest, by the names of `cbit causes`; the table of
# docs/your-driver.md says the same. With each the call that does it, the last such in the mistake's function.
MISTAKES = {
    "raw_physical_address": {"raw-physical-address": "run(", "page-still-private": "run("},
    "no_sync": {"missing-sync": "dma_map_single("},
    "use_after_unmap": {"use-after-unmap": "run("},
    "wrong_direction": {"wrong-direction": "run("},
    "double_unmap": {"double-unmap": "dma_unmap_single("},
    "one_large_mapping": {"request-over-segment-limit": "dma_map_single("},
    "slot_leak": {"pool-exhausted": "dma_map_single("},
    "unchecked_error": {"request-over-segment-limit": "dma_map_single(", "unchecked-mapping-error": "run("},
    "stack_buffer": {"unmappable-memory": "dma_map_single("},
    "freed_while_mapped": {"freed-while-mapped": "kfree("},
    "cache_object_freed_while_mapped": {"freed-while-mapped": "kmem_cache_free("},
    "pages_freed_while_mapped": {"freed-while-mapped": "free_pages("},
    "coherent_mapped_encrypted": {"conflicting-encryption-alias": "write_through_user_mapping(",
                                  "mapped-encrypted-but-shared": "write_through_user_mapping("},
    "encrypted_mmio": {"encrypted-mmio": "readb("},
    "leak_to_shared": {"private-bytes-in-shared-memory": None},  # shows at the end, when nobody is anywhere
}
# Of them those that happen in a function which the compiler puts into the mistake's.
INLINED = {
    "conflicting-encryption-alias": ("write_through_user_mapping", "vm_mmap("),
    "mapped-encrypted-but-shared": ("write_through_user_mapping", "copy_to_user("),
}
# How many slices of time one is judged of: those that are cost some fifty times as much.
ONE_SLICE_OF = "8"
# Slots of the pool, where a piece of work wants fewer than there are by default; model/*.toml says the same.
POOLS = {"exhaustion": 1024}
# What the disk is told, where a piece of work is one with a disk.
DISKS = {"virtio_blk": "", "virtio_blk_packed": ",packed=on"}
# Where two of them hide.
ELSEWHERE = {
    ("raw_physical_address", "--sme"): ["missing-c-bit-in-dma-address"],
    ("raw_physical_address", None): [],
    ("no_sync", "--sme"): [],
    ("no_sync", None): [],
    ("encrypted_mmio", "--sme"): ["encrypted-mmio"],
    ("encrypted_mmio", None): [],
}

program = None
kernels = []
folder_for_run = None
folder_for_drivers = None


def find_kernels():
    folder = Path(os.environ.get("CBIT_TEST_KERNELS", "/boot"))
    found = sorted(path for path in folder.rglob("vmlinuz*") if path.is_file() and os.access(path, os.R_OK))
    return found or fetched_kernel()


def fetched_kernel():
    """Debian's cloud kernel, as cbit keeps it; nothing where it cannot be had."""
    cache = Path(folder_for_run.name) / "cache"
    done = subprocess.run([program, "run", "--quiet", "--", "uname", "-r"], text=True, capture_output=True,
                          env=os.environ | {"XDG_CACHE_HOME": str(cache)}, stdin=subprocess.DEVNULL,
                          timeout=HANGS_S)
    print(done.stderr[-2000:] if done.returncode else f"fetched {done.stdout.strip()}", flush=True)
    return sorted(cache.rglob("vmlinuz*"))


def release_of(kernel):
    """boot/vmlinuz-RELEASE; lib/modules/RELEASE/vmlinuz since Debian's 7.x."""
    return kernel.parent.name if kernel.name == "vmlinuz" else kernel.name.removeprefix("vmlinuz-")


class Boot:
    """One run of cbit: its exit status, the command's output, the kernel's console."""

    def __init__(self, kernel, *options, command):
        words = [program, "run", *map(str, options), "--stats", "--timeout", str(HANGS_S), kernel, "--",
                 *command]
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


def read_report(path):
    """The object, which is as its schema says where that can be judged."""
    told = json.loads(path.read_text())
    if jsonschema is not None:
        jsonschema.validate(told, SCHEMA)
    return told


class EachKernel(unittest.TestCase):
    def which(self):
        return kernels

    def path(self, name):
        return Path(folder_for_run.name) / name

    def each(self, *options, command):
        for kernel in self.which():
            with self.subTest(kernel=kernel.name):
                boot = Boot(kernel, *options, command=command)
                print(f"{kernel.name} {' '.join(options)}: {boot.seconds:.1f} s", flush=True)
                yield kernel, boot


class Kernels(EachKernel):
    def test_runs_a_command_and_powers_off(self):
        for kernel, boot in self.each(command=["sh", "-c", "uname -r; exit 3"]):
            self.assertEqual(boot.status, 3, boot)
            self.assertEqual(boot.output.strip(), release_of(kernel), boot)
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

    def test_boots_with_less_to_do_when_the_host_has_unpacked_it(self):
        for kernel in kernels:
            with self.subTest(kernel=kernel.name):
                for platform, said in ((), "Linux version"), (("--sev",), "AMD SEV"), (("--sme",), "AMD SME"):
                    done = {}
                    for more in (), ("--fast-decompress",):
                        boot = Boot(kernel, *platform, *more, command=["dmesg"])
                        self.assertEqual(boot.status, 0, boot)
                        self.assertRegex(boot.output, said)
                        done[more] = int(re.search(r"(\d+) instructions in", boot.console)[1])
                    self.assertLess(done["--fast-decompress",], done[()])

    def test_finds_no_encryption_where_there_is_none_and_the_clocks_of_a_pc(self):
        for _, boot in self.each(command=["dmesg"]):
            self.assertEqual(boot.status, 0, boot)
            self.assertNotIn("Memory Encryption", boot.output, boot)
            self.assertIn("tsc: Fast TSC calibration using PIT", boot.output, boot)
            # An instruction takes a nanosecond; quick_pit_calibrate() stops at an error below 500 ppm.
            mhz = float(re.search(r"tsc: Detected ([0-9.]+) MHz processor", boot.output)[1])
            self.assertAlmostEqual(mhz, 1000, delta=0.5, msg=boot)


class Processors(EachKernel):
    def setUp(self):
        self.image = Path(folder_for_run.name) / "disk.img"
        self.contents = os.urandom(4 << 20)
        self.image.write_bytes(self.contents)

    QUARTER = ("for cpu in 0 1 2 3; do "
               "taskset -c $cpu dd if=/dev/vda bs=1M skip=$cpu count=1 iflag=direct 2> /dev/null | "
               "sha256sum > /$cpu & done; wait; cat /0 /1 /2 /3; nproc; "
               "awk '/LOC:/ { print NF - 4 }' /proc/interrupts")

    def check_quarters(self, boot):
        self.assertEqual(boot.status, 0, boot)
        digests = boot.output.split()[:8:2]
        quarters = [self.contents[at:at + (1 << 20)] for at in range(0, 4 << 20, 1 << 20)]
        self.assertEqual(digests, [hashlib.sha256(part).hexdigest() for part in quarters])
        self.assertEqual(boot.output.split()[8:], ["4", "4"])
        self.assertIn("smp: Brought up 1 node, 4 CPUs", boot.console)

    def test_read_a_disk_at_the_same_time(self):
        for platform in [], ["--sev"]:
            for _, boot in self.each(*platform, "--cpus", "4", "--threads", "--disk", f"{self.image},ro",
                                     command=["sh", "-c", self.QUARTER]):
                self.check_quarters(boot)
                self.assertIn("reboot: Power down", boot.console, boot)

    def test_share_an_encrypted_guests_disk_and_its_pool(self):
        report = Path(folder_for_run.name) / "report.json"
        for _, boot in self.each("--sev", "--cpus", "4", "--disk", f"{self.image},ro", "--report-json",
                                 str(report), command=["sh", "-c", self.QUARTER]):
            self.check_quarters(boot)
            told = read_report(report)
            self.assertEqual(told["causes"], [])
            self.assertGreaterEqual(told["swiotlb"]["bytes_out"], len(self.contents))


class Iommus(EachKernel):
    """AMD's IOMMU, programmed by the kernel's own driver, which Debian's cloud kernels are built without."""

    # Tells the device at 00:04.0, by hand, to read and to write where nobody mapped anything.
    WRONG_DMA = """
        cd /sys/bus/pci/devices/0000:00:04.0
        printf '\\006\\000' | dd of=config bs=2 seek=2 conv=notrunc 2> /dev/null
        set -- $(head -1 resource)
        tell() { devmem $(($bar + $1)) 64 $2; }
        bar=$1
        tell 0x08 0x12345000; tell 0x10 0; tell 0x18 64; tell 0x28 1
        tell 0x08 0; tell 0x10 0xdead000; tell 0x28 2
        sleep 1
        dmesg; sha256sum /dev/vda; cat /proc/interrupts"""

    def which(self):
        return [kernel for kernel in kernels if "cloud" not in release_of(kernel)]

    def setUp(self):
        self.image = Path(folder_for_run.name) / "disk.img"
        contents = os.urandom(3 << 20)
        self.image.write_bytes(contents)
        self.digest = hashlib.sha256(contents).hexdigest()
        self.report = Path(folder_for_run.name) / "report.json"
        self.options = ["--iommu", "amd", "--disk", f"{self.image},ro", "--report-json", str(self.report)]

    def test_under_sme_translate_to_encrypted_memory_and_nothing_bounces(self):
        for _, boot in self.each("--sme", *self.options, command=["sh", "-c", "dmesg; sha256sum /dev/vda"]):
            self.assertEqual(boot.status, 0, boot)
            self.assertIn(self.digest, boot.output, boot)
            for words in ("AMD-Vi: Extended features (0x8c6, 0x0)", "AMD-Vi: Interrupt remapping enabled",
                          "Default domain type: Translated", "invalidation policy: lazy"):
                self.assertIn(words, boot.output, boot)
            self.assertNotIn("Event logged", boot.output, boot)
            told = read_report(self.report)
            self.assertEqual(told["causes"], [])
            disk = told["devices"][0]
            self.assertEqual((disk["bounced"], disk["iommu_faults"]), (0, 0))
            self.assertEqual(disk["translated"], disk["mappings"])
            self.assertGreater(disk["translated"], 0)

    def test_log_what_a_device_must_not_do_and_the_kernel_prints_it(self):
        for _, boot in self.each(*self.options, "--device", "test-dma", "--append", "iommu.strict=1",
                                 command=["sh", "-c", self.WRONG_DMA]):
            self.assertEqual(boot.status, 0, boot)
            self.assertIn(self.digest, boot.output, boot)
            self.assertIn("invalidation policy: strict", boot.output, boot)
            for access in ("address=0x12345000 flags=0x0000", "address=0xdead000 flags=0x0020"):
                self.assertRegex(boot.output,
                                 rf"0000:00:04\.0: AMD-Vi: Event logged \[IO_PAGE_FAULT domain=\S+ {access}")
            self.assertRegex(boot.output, r" 2 +IOMMU-MSI .*AMD-Vi")
            told = read_report(self.report)
            self.assertEqual({cause["name"] for cause in told["causes"]}, {"raw-gpa-behind-iommu"})
            self.assertEqual(told["devices"][1]["iommu_faults"], 2)


class VirtioIommus(EachKernel):
    """Found by ACPI's VIOT; Debian's kernels have the driver since 6.12."""

    def which(self):
        def has_driver(kernel):
            driver = f"**/{release_of(kernel)}/kernel/drivers/iommu/virtio-iommu.*"
            return any(kernel.parent.parent.glob(driver))
        return [kernel for kernel in kernels if has_driver(kernel)]

    def test_translate_for_a_disk(self):
        image = Path(folder_for_run.name) / "disk.img"
        image.write_bytes(os.urandom(3 << 20))
        report = Path(folder_for_run.name) / "report.json"
        for _, boot in self.each("--device", "virtio-iommu", "--disk", f"{image},ro", "--report-json",
                                 str(report), command=["sha256sum", "/dev/vda"]):
            self.assertEqual(boot.status, 0, boot)
            self.assertIn(hashlib.sha256(image.read_bytes()).hexdigest(), boot.output, boot)
            told = read_report(report)
            self.assertEqual(told["causes"], [])
            disk = next(device for device in told["devices"] if device["bytes_written"] > 3 << 20)
            self.assertGreater(disk["translated"], 0)


class Disks(EachKernel):
    def setUp(self):
        self.image = Path(folder_for_run.name) / "disk.img"
        self.contents = os.urandom(3 << 20)
        self.image.write_bytes(self.contents)

    def test_are_read_through_the_bounce_pool(self):
        report = Path(folder_for_run.name) / "report.json"
        hiwater = "/sys/kernel/debug/swiotlb/io_tlb_used_hiwater"
        command = ["sh", "-c", f"sha256sum < /dev/vda; cat {hiwater} 2> /dev/null; true"]
        # From Linux 7.3 on (kernel/dma/swiotlb.c) this counter runs where it is asked for.
        for _, boot in self.each("--sev", "--disk", f"{self.image},ro", "--report-json", str(report),
                                 "--append", "swiotlb=track_hiwater", command=command):
            self.assertEqual(boot.status, 0, boot)
            digest, _, *hiwater = boot.output.split()
            self.assertEqual(digest, hashlib.sha256(self.contents).hexdigest())
            told = read_report(report)
            self.assertTrue(told["watched"], told)
            self.assertEqual(told["causes"], [])
            self.assertEqual((told["exposure"]["searched"], told["exposure"]["bytes"]), ("all", 0))
            self.assertGreater(told["exposure"]["left_behind"], 0)  # of the disk's contents
            self.assertGreaterEqual(told["swiotlb"]["bytes_out"], len(self.contents))
            if hiwater:  # from Linux 6.2 on; the kernel's own counter
                self.assertEqual(told["swiotlb"]["slots_used_max"], int(hiwater[0]))

    def test_have_their_driver_from_the_folder_that_the_kernel_is_in(self):
        for kernel in kernels:
            beside = kernel.parent.parent / "lib/modules" / release_of(kernel)
            if not beside.is_dir():
                continue
            folder = Path(folder_for_run.name) / "elsewhere" / release_of(kernel)
            shutil.copytree(beside, folder, dirs_exist_ok=True)
            shutil.copy(kernel, folder / "vmlinuz")
            boot = Boot(folder / "vmlinuz", "--disk", f"{self.image},ro", command=["sha256sum", "/dev/vda"])
            self.assertIn(hashlib.sha256(self.contents).hexdigest(), boot.output, boot)

    def test_without_modules_are_told_to_need_them(self):
        for kernel in kernels:
            alone = Path(folder_for_run.name) / "vmlinuz"
            shutil.copy(kernel, alone)
            boot = Boot(alone, "--disk", f"{self.image},ro", command=["true"])
            if "found no modules" not in boot.console:  # this host has them
                self.assertTrue((Path("/lib/modules") / release_of(kernel)).is_dir(), boot)
            else:
                self.assertRegex(boot.console, "virtio_blk.* must be built in; --modules names", boot)

    def test_are_reported_as_the_documentation_shows(self):
        def shapes(text):
            return {re.sub(r"\d[\da-fx]*", "N", line) for line in text.splitlines()
                    if line.startswith(("Pages: ", "Bounce buffers: ", "DMA: ", "Private bytes "))}

        documented = shapes((HERE.parent.parent / "docs/run.md").read_text())
        for _, boot in self.each("--sev", "--disk", f"{self.image},ro", "--report", command=[
                "sh", "-c", "sha256sum /dev/vda"]):
            told = shapes(boot.console)
            self.assertEqual(len(told), 4, boot)
            self.assertLessEqual(told, documented)

    def test_that_bypass_the_dma_api_are_told_why(self):
        for options, cause in ((",access-platform=off", "flag-not-offered"),
                               (",access-platform=off,legacy=on", "legacy-virtio")):
            report = Path(folder_for_run.name) / "report.json"
            for _, boot in self.each("--sev", "--disk", f"{self.image},ro{options}", "--report-json",
                                     str(report), command=["sh", "-c", "ls /dev/vda"]):
                self.assertNotEqual(boot.status, 0, boot)  # Linux refuses the device, or its ring is noise
                self.assertIn(cause, [one["name"] for one in read_report(report)["causes"]], boot)

    def test_keep_what_the_guest_writes(self):
        written = b"written by the guest\n"
        write = f"echo {written.decode().strip()} | dd of=/dev/vda bs=512 seek=1 conv=notrunc,sync,fsync"
        for _, boot in self.each("--sev", "--disk", str(self.image), command=["sh", "-c", write]):
            self.assertEqual(boot.status, 0, boot)
            now = self.image.read_bytes()
            self.assertEqual(now[512:512 + len(written)], written)
            self.assertEqual(now[1024:], self.contents[1024:])

    def test_that_become_shorter_fail_and_are_not_made_longer(self):
        size = len(self.contents)
        last = size // 512 - 1
        script = f"""
            echo ready
            exec 2> /dev/null
            while dd if=/dev/vda of=/dev/null bs=512 skip={last} count=1 iflag=direct; do :; done
            dd if=/dev/zero of=/dev/vda bs=512 seek={last} count=1 oflag=direct || echo refused"""
        for kernel in kernels:
            with self.subTest(kernel=kernel.name):
                self.image.write_bytes(self.contents)
                words = [program, "run", "--quiet", "--timeout", str(HANGS_S), "--disk", self.image, kernel,
                         "--", "sh", "-c", script]
                with subprocess.Popen(words, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE) as running:
                    self.assertEqual(running.stdout.readline(), "ready\n")
                    os.truncate(self.image, 1 << 20)
                    output, errors = running.communicate()
                self.assertEqual((running.returncode, output), (65, "refused\n"), errors)
                self.assertIn(f"{self.image}: ends at 1048576 of {size} bytes", errors)
                self.assertEqual(self.image.stat().st_size, 1 << 20)

    def test_hide_a_secret_of_the_guests_only_where_memory_is_encrypted(self):
        secret = "what-only-the-guest-shall-know"
        for options, found in (["--sev"], False), ([], True):
            for _, boot in self.each(*options, "--secret", secret, command=[
                    "sh", "-c", f"echo {secret} > /tmp/secret"]):
                self.assertEqual(boot.status, 0, boot)
                told = boot.console.partition(f'Secret "{secret}": ')[2].partition("\n")[0]
                self.assertEqual(int(re.search(r"the host finds it (\d+) times", told)[1]) != 0, found, boot)
                self.assertEqual("under the guest's key" in told, not found, boot)


class Resets(EachKernel):
    """Devices that lose their driver, or are reset, while they idle and while they work."""

    # Linux resets a function by PCI Express (FLR); drivers that know nothing of it are unbound before.
    SETUP = """
        cd /sys/bus/pci/devices
        for slot in SLOTS; do
            eval "at$slot=0000:00:0$slot.0"
            eval "driver$slot=\\$(basename \\$(readlink 0000:00:0$slot.0/driver))"
        done
        rebind() {
            echo $1 > /sys/bus/pci/drivers/$2/unbind
            if [ -e $1/reset ]; then echo 1 > $1/reset; fi
            echo $1 > /sys/bus/pci/drivers/$2/bind
        }
        wait_for() { n=0; until [ -e $1 ] || [ $n = 100 ]; do sleep 0.1; n=$((n + 1)); done; }
        sum() { wait_for $1; echo $2 $(dd if=$1 bs=64k iflag=direct 2> /dev/null | sha256sum | cut -c 1-64); }
        net_of() { for net in $1/net/* $1/virtio*/net/*; do if [ -e $net ]; then echo ${net##*/}; fi; done; }
        up() { ifconfig $(net_of $1) $2 netmask 255.255.255.0; }
        fetch() { wget -q -O - http://$1:WEB/data | sha256sum | cut -c 1-64; }
        echo methods $(cat $at3/reset_method $at4/reset_method $at5/reset_method)
"""
    RUN = """
        for work in idle busy; do
            for disk in $at3:$driver3:/dev/vda $at4:$driver4:/dev/nvme0n1; do
                name=/dev/${disk##*/} slot=${disk%:*:*} driver=${disk#$at3:} driver=${driver#$at4:}
                driver=${driver%:*}
                if [ $work = busy ]; then
                    (while dd if=$name of=/dev/null bs=64k iflag=direct 2> /dev/null; do :; done) & sleep 0.05
                fi
                rebind $slot $driver
                wait
                sum $name $work-$driver
            done
            for net in $at5:$driver5:10.0.2 ${at6:+$at6:$driver6:10.0.3}; do
                slot=${net%:*:*} base=${net##*:} driver=${net#$slot:} driver=${driver%:*}
                if [ $work = busy ]; then
                    timeout 2 wget -q -O /dev/null http://$base.2:WEB/data & sleep 0.1
                fi
                rebind $slot $driver
                up $slot $base.15
                wait
                echo $work-net-$driver $(fetch $base.2)
            done
        done
        for work in idle busy; do
            if [ $work = busy ]; then (for i in 1 2 3; do sum $DISK beside; done) & sleep 0.05; fi
            echo 1 > $at4/reset && echo reset $work
            wait
            sum $DISK $work
        done"""

    def setUp(self):
        self.web = Networks.serve(self)

    def test_leave_devices_that_work_with_their_next_driver(self):
        digest = hashlib.sha256(self.contents).hexdigest()
        images = [self.path(name) for name in ("one.img", "two.img")]
        for image in images:
            image.write_bytes(self.contents[:4 << 20])
        on_disk = hashlib.sha256(self.contents[:4 << 20]).hexdigest()
        script = (self.SETUP + self.RUN).replace("WEB", str(self.web.server_port)).replace(
            "$DISK", "/dev/nvme0n1")
        for kernel in kernels:
            networks = ["virtio-pci"] if "cloud" in kernel.name else ["virtio-pci", "e1000"]
            more = ["--net", "user,model=e1000"] if "e1000" in networks else []
            slots = "3 4 5 6" if more else "3 4 5"
            with self.subTest(kernel=kernel.name):
                boot = Boot(kernel, "--sev", "--disk", f"{images[0]},ro", "--disk",
                            f"{images[1]},ro,if=nvme", "--net", "user", *more,
                            command=["sh", "-c", script.replace("SLOTS", slots)])
                self.assertEqual(boot.status, 0, boot)
                lines = boot.output.splitlines()
                self.assertIn("methods flr flr flr", lines, boot)
                for work in "idle", "busy":
                    for driver in "virtio-pci", "nvme":
                        self.assertIn(f"{work}-{driver} {on_disk}", lines, boot)
                    for driver in networks:
                        self.assertIn(f"{work}-net-{driver} {digest}", lines, boot)
                    self.assertIn(f"reset {work}", lines, boot)
                    self.assertIn(f"{work} {on_disk}", lines, boot)
                self.assertEqual(lines.count(f"beside {on_disk}"), 3, boot)
                self.assertNotRegex(boot.console, "BUG:|cut here|blocked for more|timeout, aborting", boot)


class RootOnNvme(EachKernel):
    """A disk with a root file system of busybox, and others, NVMe and SCSI, that its programs write to."""

    RUN = """
        head -1 /proc/mounts
        dd if=/dev/nvme0n1 bs=64k iflag=direct 2> /dev/null | sha256sum
        for disk in /dev/nvme1n1 /dev/sda; do
            cat /big | dd of=$disk bs=64k oflag=direct conv=notrunc,fsync 2> /dev/null
        done
        dd if=/dev/sda bs=64k iflag=direct 2> /dev/null | sha256sum
        blkdiscard -o 1048576 -l 65536 /dev/nvme1n1"""

    def setUp(self):
        root = Path(tempfile.mkdtemp(dir=folder_for_run.name))
        for folder in ("bin", "dev", "proc", "sys", "tmp"):
            (root / folder).mkdir()
        shutil.copy(shutil.which("busybox"), root / "bin")
        for applet in ("sh", "cat", "dd", "head", "sha256sum", "blkdiscard"):
            (root / "bin" / applet).symlink_to("busybox")
        self.big = os.urandom(1 << 20)
        (root / "big").write_bytes(self.big)
        self.image = root.with_suffix(".img")
        mke2fs = shutil.which("mke2fs", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        if mke2fs is None:
            self.skipTest("there is no mke2fs")
        subprocess.run([mke2fs, "-q", "-t", "ext4", "-d", root, self.image, "8M"], check=True)
        self.other, self.scsi = root.with_suffix(".other"), root.with_suffix(".scsi")
        for image in (self.other, self.scsi):
            image.write_bytes(b"x" * (2 << 20))

    def test_runs_commands_with_its_dma_in_the_bounce_pool(self):
        report = Path(folder_for_run.name) / "report.json"
        disks = [f"{self.image},ro,if=nvme", f"{self.other},if=nvme", f"{self.scsi},if=scsi"]
        options = [word for disk in disks for word in ("--disk", disk)]
        for _, boot in self.each("--sev", *options, "--append", "root=/dev/nvme0n1", "--report-json",
                                 str(report), command=["sh", "-c", self.RUN]):
            self.assertEqual(boot.status, 0, boot)
            mounted, digest, digest_of_scsi = boot.output.splitlines()
            self.assertRegex(mounted, "^/dev/(nvme0n1|root) / ext4 ro", boot)
            self.assertEqual(digest.split()[0], hashlib.sha256(self.image.read_bytes()).hexdigest())
            written = self.other.read_bytes()
            self.assertTrue(written.startswith(self.big), boot)
            self.assertEqual(written[1 << 20:], bytes(1 << 16) + b"x" * ((1 << 20) - (1 << 16)))
            written = self.scsi.read_bytes()
            self.assertEqual(written, self.big + b"x" * (1 << 20))
            self.assertEqual(digest_of_scsi.split()[0], hashlib.sha256(written).hexdigest())
            told = read_report(report)
            self.assertEqual(told["causes"], [])
            root, other = (next(one for one in told["devices"] if one["device"] == name)
                           for name in ("0000:00:03.0", "0000:00:04.0"))
            self.assertGreaterEqual(root["bytes_written"], self.image.stat().st_size)
            self.assertGreaterEqual(other["bytes_read"], len(self.big))
            self.assertGreater(min(root["bounced"], other["bounced"]), 0)


class Results(EachKernel):
    """What a run tells programs: tests, pictures, the second witness of page states."""

    def test_of_tests_in_the_guest_become_junit(self):
        junit = self.path("junit.xml")
        ktap = "TAP version 13\\n1..3\\nok 1 maps\\nnot ok 2 syncs # exit=1\\nok 3 frees # SKIP no memory\\n"
        for _, boot in self.each("--junit", str(junit), command=["printf", ktap]):
            self.assertEqual(boot.status, 0, boot)
            self.assertIn("1 tests passed, 1 failed, 1 skipped", boot.console)
            root = xml.parse(junit).getroot()
            self.assertEqual([root.get(name) for name in ("tests", "failures", "errors", "skipped")],
                             ["4", "1", "0", "1"])
            cases = {case.get("name"): [child.tag for child in case] for case in root.iter("testcase")}
            self.assertEqual(cases | {"maps": [], "syncs": ["failure"], "frees": ["skipped"]}, cases)

    def test_of_a_panic_are_bad_for_git_bisect(self):
        junit = self.path("junit.xml")
        for _, boot in self.each("--git-bisect", "--junit", str(junit), command=[
                "sh", "-c", "echo c > /proc/sysrq-trigger"]):
            self.assertEqual(boot.status, 1, boot)
            error = xml.parse(junit).getroot().find(".//error")
            self.assertIn("Kernel panic - not syncing", error.get("message"))
        for _, boot in self.each("--git-bisect", command=["true"]):
            self.assertEqual(boot.status, 0, boot)

    def test_are_a_page_with_pictures(self):
        page = self.path("report.html")
        for _, boot in self.each("--sev", "--html", str(page), command=["true"]):
            html = page.read_text()
            self.assertIn("pages over time", html, boot)
            self.assertNotRegex(html, r"(src|href)=")

    def test_of_two_runs_are_the_same_to_the_byte(self):
        traces = [self.path("first.jsonl"), self.path("second.jsonl")]
        for kernel in kernels:
            with self.subTest(kernel=kernel.name):
                for trace in traces:
                    boot = Boot(kernel, "--sev", "--trace", trace, "--trace-format", "jsonl",
                                command=["true"])
                    self.assertEqual(boot.status, 0, boot)
                digests = [hashlib.sha256(trace.read_bytes()).hexdigest() for trace in traces]
                self.assertEqual(*digests)

    def test_of_the_second_witness_agree_with_memory(self):
        report = self.path("report.json")
        for _, boot in self.each("--sev", "--hypercalls", "--report-json", str(report), command=["dmesg"]):
            self.assertEqual(boot.status, 0, boot)
            self.assertRegex(boot.output, "Hypervisor detected: KVM", boot)
            told = read_report(report)
            self.assertGreater(told["told"]["calls"], 0)
            self.assertGreater(told["told"]["pages_judged"], 0)
            self.assertEqual(told["told"]["disagreements"], 0, told["told"])
            # Whatever the kernel shares by its own calls, it tells; .bss..decrypted it tells besides.
            shared = told["conversions"]["pages_shared"] - told["conversions"]["pages_made_private"]
            self.assertGreaterEqual(told["told"]["pages_shared"], shared)


class Snapshots(EachKernel):
    # What differs with each interrupt, and with each nanosecond.
    TELLING = ["cat", "/proc/interrupts", "/proc/stat", "/proc/uptime"]

    def test_go_on_as_the_run_did_that_made_them_and_run_other_commands(self):
        for options in ([], ["--sev"], ["--sme"], ["--sev", "--cpus", "2"]):
            path = self.path("snapshot")
            for kernel in kernels:
                with self.subTest(kernel=kernel.name, options=options):
                    path.unlink(missing_ok=True)
                    first = Boot(kernel, *options, "--snapshot", path, command=self.TELLING)
                    self.assertEqual(first.status, 0, first)
                    self.assertIn("the guest has booted, and is saved as", first.console)
                    self.assertEqual(path.stat().st_mode & 0o777, 0o600)
                    again = Boot(kernel, *options, "--snapshot", path, command=self.TELLING)
                    print(f"{kernel.name} {' '.join(options)}: {first.seconds:.1f} s,"
                          f" then {again.seconds:.2f} s", flush=True)
                    self.assertEqual(again.status, 0, again)
                    self.assertRegex(first.output, r"LOC: +\d+")
                    self.assertEqual(again.output, first.output)
                    self.assertNotIn("Linux version", again.console)
                    other = Boot(kernel, *options, "--snapshot", path,
                                 command=["sh", "-c", "echo $((6 * 7)); exit 9"])
                    self.assertEqual((other.status, other.output), (9, "42\n"), other)

    def test_keep_an_encrypted_guests_memory_ciphertext_and_its_disk_at_work(self):
        disk, path = self.path("snapshot.img"), self.path("snapshot-of-disk")
        secret = b"a secret that the guest alone shall know"
        disk.write_bytes(bytes(range(256)) * 4096)
        options = ["--sev", "--disk", f"{disk},ro", "--disk", f"{disk},ro,if=nvme",
                   "--device", "virtio-rng", "--device", "virtio-console",
                   "--append", f"secret={secret.decode().replace(' ', '-')}"]
        read = ["sh", "-c", "sha256sum < /dev/vda; sha256sum < /dev/nvme0n1; cat /proc/cmdline;"
                            " head -c 16 /dev/hwrng | wc -c; dmesg | grep -c AMD.SEV"]
        for kernel in kernels:
            with self.subTest(kernel=kernel.name):
                path.unlink(missing_ok=True)
                self.assertEqual(Boot(kernel, *options, "--snapshot", path, command=["true"]).status, 0)
                boot = Boot(kernel, *options, "--snapshot", path, command=read)
                self.assertEqual(boot.status, 0, boot)
                virtio, nvme, line, random, sev = boot.output.splitlines()
                for digest in (virtio, nvme):
                    self.assertEqual(digest.split()[0], hashlib.sha256(disk.read_bytes()).hexdigest(), boot)
                self.assertIn("secret=a-secret", line)
                self.assertEqual((random, sev), ("16", "1"), boot)

    def test_of_another_machine_are_refused_and_told_why(self):
        disk, path = self.path("changing.img"), self.path("refused")
        disk.write_bytes(bytes(1 << 20))
        kernel = kernels[0]
        self.assertEqual(Boot(kernel, "--disk", disk, "--snapshot", path, command=["true"]).status, 0)
        for options, why in [(["--sev", "--disk", disk], "the platform was plain, and is sev"),
                             (["--memory", "1G", "--disk", disk], "the memory was 536870912 bytes, and is"),
                             (["--disk", f"{disk},ro"], f"--disk was {disk}, and is {disk},ro"),
                             (["--append", "quiet", "--disk", disk], "the kernel's command line was")]:
            boot = Boot(kernel, *options, "--snapshot", path, command=["true"])
            self.assertEqual(boot.status, 65, boot)
            self.assertIn(why, boot.console)
            self.assertIn("give --snapshot another name, or remove", boot.console)
        disk.write_bytes(bytes(1 << 20))
        boot = Boot(kernel, "--disk", disk, "--snapshot", path, command=["true"])
        self.assertEqual(boot.status, 65, boot)
        self.assertIn("last changed at", boot.console)


class Translator(EachKernel):
    """Blocks that run often as code of the host, which shows in nothing but the time."""

    def test_leaves_the_trace_of_an_encrypted_boot_as_the_interpreter_makes_it(self):
        traces = {"on": self.path("translated.jsonl"), "off": self.path("interpreted.jsonl")}
        for kernel in kernels:
            with self.subTest(kernel=kernel.name):
                for jit, trace in traces.items():
                    boot = Boot(kernel, "--sev", "--jit", jit, "--trace", trace, "--trace-format", "jsonl",
                                command=["true"])
                    self.assertEqual(boot.status, 0, boot)
                    (self.assertNotIn if jit == "off" else self.assertIn)("KiB; translations", boot.console)
                digests = [hashlib.sha256(trace.read_bytes()).hexdigest() for trace in traces.values()]
                self.assertEqual(*digests)

    def test_is_found_right_by_the_interpreter_at_each_run_of_each_block(self):
        for _, boot in self.each("--sev", "--check-jit", "--append", "cryptomgr.notests", command=["true"]):
            self.assertEqual(boot.status, 0, boot)
            judged, not_judged = map(int, re.search(
                r"judged (\d+) runs of blocks, and (\d+) not", boot.console).groups())
            self.assertGreater(judged, 20 * not_judged, boot)


class Memory(EachKernel):
    """The usual machine, and one whose memory is held against one that encrypts each access."""

    def test_holds_what_it_would_if_each_access_encrypted(self):
        lock_step = Path(program).parent / "tests/guest/lock_step"
        if not lock_step.exists():
            self.skipTest(f"there is no {lock_step}")
        disk = Path(folder_for_run.name) / "disk.img"
        disk.write_bytes(os.urandom(1 << 20))
        for kernel in kernels:
            with self.subTest(kernel=kernel.name):
                words = [lock_step, ONE_SLICE_OF, "--sev", "--disk", f"{disk},ro", "--append",
                         "cryptomgr.notests", kernel, "--", "sha256sum", "/dev/vda"]
                done = subprocess.run(words, text=True, capture_output=True, timeout=HANGS_S)
                print(f"{kernel.name}: {done.stdout.strip()}", flush=True)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


def share_of(program_of_host):
    """A folder with a program, and in lib/ its libraries and their loader."""
    folder = Path(tempfile.mkdtemp(dir=folder_for_run.name))
    host_programs.put(program_of_host, folder)
    return folder


class Recordings(EachKernel):
    """cbit record in the guest while a disk is read, beside what the guest's kernel counts itself."""

    RUN = """
        mount -t tracefs tracefs /sys/kernel/tracing 2> /dev/null
        mount -t debugfs debugfs /sys/kernel/debug 2> /dev/null
        tracing=/sys/kernel/tracing hiwater=/sys/kernel/debug/swiotlb/io_tlb_used_hiwater
        echo 1 > $tracing/events/swiotlb/swiotlb_bounced/enable
        if [ -e $hiwater ]; then echo 0 > $hiwater; fi
        /mnt/share/lib/ld-linux-x86-64.so.2 --library-path /mnt/share/lib /mnt/share/cbit record \\
            --seconds 600 --output /recording &
        until [ "$(cat $tracing/instances/cbit-$!/tracing_on 2> /dev/null)" = 1 ]; do sleep 0.1; done
        echo > $tracing/trace
        dd if=/dev/vda of=/dev/null bs=64k iflag=direct 2> /dev/null
        bounces=$(grep -c swiotlb_bounced $tracing/trace)
        kill -TERM $!; wait $! || exit
        cat /recording
        echo "counted $bounces $(cat $hiwater 2> /dev/null || echo 0) $(ls $tracing/instances | wc -l)" """

    def setUp(self):
        if os.uname().machine != "x86_64":
            self.skipTest("cbit is built for another machine than the guest")
        self.folder = share_of(program)
        self.image = self.folder / "disk.img"
        self.image.write_bytes(os.urandom(2 << 20))

    def test_agree_with_the_kernels_own_counters(self):
        # From Linux 7.3 on (kernel/dma/swiotlb.c) the counter runs where it is asked for.
        for _, boot in self.each("--sev", "--disk", f"{self.image},ro", "--share", str(self.folder),
                                 "--append", "swiotlb=track_hiwater", command=["sh", "-c", self.RUN]):
            self.assertEqual(boot.status, 0, boot)
            recording, _, counted = boot.output.rpartition("counted ")
            bounces, hiwater, instances = map(int, counted.split())
            self.assertEqual(instances, 0)
            explained = subprocess.run([program, "doctor", "--trace", "-", "--json"], input=recording,
                                       text=True, capture_output=True, timeout=HANGS_S)
            self.assertEqual(explained.returncode, 0, explained.stdout + explained.stderr)
            told = json.loads(explained.stdout)
            self.assertEqual((told["trace"]["gaps"], told["trace"]["other_events"]), (0, 0))
            disk, = (device for device in told["devices"] if device["bounces"])
            self.assertEqual(disk["bounces"], bounces)
            self.assertGreaterEqual(disk["bounced_bytes"], self.image.stat().st_size)
            if "dma" not in told["recorded"].split():  # Linux before 6.12
                continue
            self.assertEqual(disk["mapped_bytes"], disk["bounced_bytes"])
            self.assertEqual((disk["still_mapped"], disk["surplus"]), (0, 0))
            self.assertEqual(told["swiotlb"]["slots_held_max"], hiwater)


class Stress(EachKernel):
    """stress-ng of this host, with its libraries: it verifies itself what it calculates and stores."""

    # Each method of 0.15 once: its table weighs the 82 of processors with 80 operations, and those of memory
    # take 930 at this size. A stressor that a signal ends may leave an exit status of 0.
    STRESS = """
        stress() { /mnt/share/lib/ld-linux-x86-64.so.2 --library-path /mnt/share/lib /mnt/share/stress-ng \
            --verify --temp-path /tmp "$@" 2>&1; }"""
    ALONE = """
        stress --cpu 1 --cpu-method all --cpu-ops 84 &&
        stress --vm 1 --vm-bytes 64K --vm-method all --vm-ops 1000"""

    def setUp(self):
        found = shutil.which("stress-ng")
        if found is None or os.uname().machine != "x86_64":
            self.skipTest("there is no stress-ng for x86-64")
        self.folder = share_of(found)

    # What several processors do to each other: locks, atomics, scheduling, shoot-downs of translations.
    TOGETHER = """
        for kind in tlb-shootdown=200 futex=4000 atomic=400 mutex=2000 switch=4000; do
          stress --${kind%=*} 4 --${kind%=*}-ops ${kind#*=} || exit 1
        done"""

    def check(self, *options, script, runs):
        for _, boot in self.each(*options, "--append", "cryptomgr.notests", "--share", str(self.folder),
                                 command=["sh", "-c", self.STRESS + script]):
            self.assertEqual(boot.status, 0, boot)
            self.assertEqual(boot.output.count("successful run completed"), runs, boot)
            self.assertNotRegex(boot.output, "fail:|signal", boot)
            self.assertNotIn("does not have the instruction", boot.console, boot)

    def test_finds_no_mistake_of_the_processor_or_memory(self):
        for options in ["--sev"], []:
            self.check(*options, script=self.ALONE, runs=2)

    def test_finds_no_mistake_of_four_processors_that_share_memory(self):
        self.check("--sev", "--cpus", "4", script=self.TOGETHER, runs=5)

    def test_finds_no_mistake_of_two_processors_at_the_same_time(self):
        self.check("--sev", "--cpus", "2", "--threads", script=self.TOGETHER, runs=5)


class Shares(EachKernel):
    """A folder of the host's, whichever way the kernel gets to see it."""

    LOOK = """
        cd /mnt/share; grep -c ' /mnt/share 9p ' /proc/mounts
        sha256sum < data; cat 'a folder/leaf'; ls -1; readlink out
        cat out absolute ../secret 2> /dev/null || echo 'nothing outside'
        (echo more > data) 2> /dev/null || echo 'not written'
        touch new 2> /dev/null || echo 'not made'
        rm data 2> /dev/null || echo 'not removed'
        mount -o remount,rw /mnt/share 2> /dev/null; (echo more > data; rm -r /mnt/share) 2> /dev/null
        true"""

    def setUp(self):
        outer = Path(tempfile.mkdtemp(dir=folder_for_run.name))
        self.folder = outer / "share"
        self.contents = os.urandom((3 << 20) + 5)
        (self.folder / "a folder").mkdir(parents=True)
        (self.folder / "data").write_bytes(self.contents)
        (self.folder / "a folder/leaf").write_text("the leaf\n")
        (outer / "secret").write_text("what is outside\n")
        (self.folder / "out").symlink_to("../secret")
        (self.folder / "absolute").symlink_to(outer / "secret")

    def test_are_read_and_neither_written_nor_left(self):
        report = Path(folder_for_run.name) / "report.json"
        for options in ["--sev"], []:
            for kernel, boot in self.each(*options, "--share", str(self.folder), "--report-json", str(report),
                                          command=["sh", "-c", self.LOOK]):
                self.assertEqual(boot.status, 0, boot)
                mounted, *seen = boot.output.splitlines()
                print(f"{kernel.name}: {'9p' if mounted == '1' else 'a copy'}", flush=True)
                self.assertEqual(seen, [hashlib.sha256(self.contents).hexdigest() + "  -", "the leaf",
                                        "a folder", "absolute", "data", "out", "../secret",
                                        "nothing outside", "not written", "not made", "not removed"], boot)
                told = read_report(report)
                self.assertEqual(told["causes"], [], boot)
                if mounted == "1" and options:
                    self.assertGreaterEqual(told["swiotlb"]["bytes_out"], len(self.contents))
                self.assertEqual((self.folder / "data").read_bytes(), self.contents)
                self.assertEqual(sorted(path.name for path in self.folder.iterdir()),
                                 ["a folder", "absolute", "data", "out"])


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Networks(EachKernel):
    """A file from the host, and a line into the guest, over the network of --net user."""

    FETCH = """
        wget -q -O - http://10.0.2.2:{web}/data | sha256sum
        ip -o -4 address show eth0; ip route; cat /etc/resolv.conf
        echo 'printf "HTTP/1.0 200 OK\\r\\n\\r\\nfrom the guest"' > /tmp/answer
        nc -l -p 80 -e sh /tmp/answer"""

    def serve(self):
        """A server of this host's, whose one file is what the test has as its contents."""
        folder = Path(tempfile.mkdtemp(dir=folder_for_run.name))
        self.contents = os.urandom((4 << 20) + 5)
        (folder / "data").write_bytes(self.contents)
        handler = functools.partial(QuietHandler, directory=folder)
        web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=web.serve_forever, daemon=True).start()
        self.addCleanup(web.server_close)
        self.addCleanup(web.shutdown)
        return web

    def setUp(self):
        self.web = self.serve()

    def ask_guest(self, port, told, over):
        """What the guest answers at the forwarded port, as soon as it does."""
        while not told and not over.is_set():
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                    told.append(answer.read().decode())
            except OSError:
                time.sleep(0.1)

    # Each by its own device, route and port; and the host in IPv6, at a socket of its own.
    SEVERAL = """
        grep -H . /sys/class/net/eth*/address
        for net in eth0 eth1; do
            echo $net $(ip -o -4 address show $net | cut -d ' ' -f 7) \
                 $(ip -o -6 address show $net scope site | cut -d ' ' -f 7)
        done
        cat /etc/resolv.conf
        ip route | grep -c default
        ls -d /sys/bus/pci/devices/0000:00:0[34].0/virtio*/net/*
        for host in 10.0.2.2:{web} 10.0.3.2:{web} [fec0::2]:{web6} [fec0:0:0:1::2]:{web6}; do
            wget -q -O - http://$host/data | sha256sum
        done
        echo 'printf "HTTP/1.0 200 OK\r\n\r\nfrom the guest"' > /tmp/answer
        nc -l -p 80 -e sh /tmp/answer & nc -l -p 81 -e sh /tmp/answer
        wait"""

    def web_in_ipv6(self):
        """The same files at ::1; None where this host has no IPv6."""
        class Server(http.server.ThreadingHTTPServer):
            address_family = socket.AF_INET6
        try:
            web = Server(("::1", 0), self.web.RequestHandlerClass)
        except OSError:
            return None
        threading.Thread(target=web.serve_forever, daemon=True).start()
        self.addCleanup(web.server_close)
        self.addCleanup(web.shutdown)
        return web

    def free_port(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            return free.getsockname()[1]

    def test_several_at_once_have_each_their_device_and_ports_and_ipv6(self):
        web6 = self.web_in_ipv6()
        ports = self.free_port(), self.free_port()
        words = self.SEVERAL.format(web=self.web.server_port, web6=web6.server_port if web6 else 1)
        digest = hashlib.sha256(self.contents).hexdigest()
        for kernel in kernels:
            told, over = ([], []), threading.Event()
            asking = [threading.Thread(target=self.ask_guest, args=(port, answers, over))
                      for port, answers in zip(ports, told)]
            for thread in asking:
                thread.start()
            try:
                forwards = [f"user,hostfwd=tcp:127.0.0.1:{port}-:{80 + number}"
                            for number, port in enumerate(ports)]
                boot = Boot(kernel, "--sev", "--net", forwards[0], "--net", forwards[1],
                            command=["sh", "-c", words])
            finally:
                over.set()
                for thread in asking:
                    thread.join()
            self.assertEqual(boot.status, 0, boot)
            lines = boot.output.splitlines()
            for number in range(2):
                address = f"52:54:00:12:34:{0x56 + number:x}"
                self.assertIn(f"/sys/class/net/eth{number}/address:{address}", lines, boot)
            self.assertIn("eth0 10.0.2.15/24 fec0::5054:ff:fe12:3456/64", lines, boot)
            self.assertIn("eth1 10.0.3.15/24 fec0::1:5054:ff:fe12:3457/64", lines, boot)
            for line in "nameserver 10.0.2.3", "nameserver 10.0.3.3", "1":
                self.assertIn(line, lines, boot)
            self.assertEqual(sum("0000:00:0" in line for line in lines), 2, boot)
            self.assertEqual(boot.output.count(digest), 4 if web6 else 2, boot)
            self.assertEqual(told, (["from the guest"], ["from the guest"]), boot)

    def test_reach_the_host_and_are_reached_by_it(self):
        report = Path(folder_for_run.name) / "report.json"
        for model, *options in ("virtio", "--sev"), ("virtio",), ("e1000", "--sev"):
            for kernel in kernels:
                if model == "e1000" and "cloud" in kernel.name:  # which has no driver for it
                    continue
                with self.subTest(kernel=kernel.name, model=model, options=options):
                    with socket.socket() as free:
                        free.bind(("127.0.0.1", 0))
                        port = free.getsockname()[1]
                    told, over = [], threading.Event()
                    asking = threading.Thread(target=self.ask_guest, args=(port, told, over))
                    asking.start()
                    words = self.FETCH.format(web=self.web.server_port)
                    try:
                        boot = Boot(kernel, *options, "--report-json", report, "--net",
                                    f"user,model={model},hostfwd=tcp:127.0.0.1:{port}-:80",
                                    command=["sh", "-c", words])
                    finally:
                        over.set()
                        asking.join()
                    print(f"{kernel.name} {model} {' '.join(options)}: {boot.seconds:.1f} s", flush=True)
                    self.assertEqual(boot.status, 0, boot)
                    self.assertIn(hashlib.sha256(self.contents).hexdigest(), boot.output, boot)
                    for line in "inet 10.0.2.15/24", "default via 10.0.2.2 dev eth0", "nameserver 10.0.2.3":
                        self.assertIn(line, boot.output, boot)
                    self.assertEqual(told, ["from the guest"], boot)
                    report_told = read_report(report)
                    self.assertEqual(report_told["causes"], [], boot)
                    if options:
                        self.assertGreaterEqual(report_told["swiotlb"]["bytes_out"], len(self.contents))


class Vsocks(EachKernel):
    """Programs in the guest and here, by AF_VSOCK there and Unix sockets here."""

    CID = 77
    WORK = """
        PATH=$PATH:/mnt/share
        vsock_work cid
        vsock_work connect 2 99; vsock_work connect 5 99
        vsock_work connect 2 1234 < /mnt/share/data | sha256sum
        vsock_work echo 52 2
        for n in 1 2 3 4 5 6 7 8; do echo caller $n | vsock_work connect 2 1235 > /tmp/$n & done; wait
        sort /tmp/[1-8]"""

    @classmethod
    def setUpClass(cls):
        if os.uname().machine != "x86_64":
            raise unittest.SkipTest("this host's programs are none for the guest")
        cls.folder = Path(tempfile.mkdtemp(dir=folder_for_run.name))
        subprocess.run(["cc", "-O2", "-static", "-o", cls.folder / "vsock_work", HERE / "vsock/vsock_work.c"],
                       check=True)
        cls.contents = os.urandom((4 << 20) + 5)
        (cls.folder / "data").write_bytes(cls.contents)

    def setUp(self):
        # Names of sockets are short.
        outer = tempfile.TemporaryDirectory(prefix="cbit-", dir="/tmp")
        self.addCleanup(outer.cleanup)
        self.socket = f"{outer.name}/s"

    def listen(self, port):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{self.socket}_{port}")
        listener.listen(16)
        self.addCleanup(os.remove, f"{self.socket}_{port}")
        self.addCleanup(listener.close)
        return listener

    @staticmethod
    def hear(peer):
        """All that the other side sends until it sends no more."""
        return b"".join(iter(lambda: peer.recv(1 << 16), b""))

    def call(self, port, over):
        """A connection with the guest's port, as soon as somebody listens; None: the run is over."""
        while not over.is_set():
            caller = socket.socket(socket.AF_UNIX)
            try:
                caller.connect(self.socket)
                caller.sendall(f"CONNECT {port}\n".encode())
                if re.fullmatch(rb"OK \d+\n", caller.recv(64)):
                    return caller
            except OSError:
                pass
            caller.close()
            time.sleep(0.1)
        return None

    def answer_guest(self, listener, answer, heard):
        peer, _ = listener.accept()
        with peer:
            heard.append(self.hear(peer))
            peer.sendall(answer)

    def greet_callers(self, listener, count):
        """All are connected at once, and answered in another order."""
        peers = [listener.accept()[0] for _ in range(count)]
        for peer in reversed(peers):
            with peer:
                peer.sendall(b"hello, " + self.hear(peer))

    def ask_guest(self, over, heard):
        """What comes back from the guest's echo, of much and of nothing."""
        for data in self.contents[:3 << 20], b"":
            caller = self.call(52, over)
            if caller is None:
                return
            with caller:
                sending = threading.Thread(target=lambda: (caller.sendall(data),
                                                           caller.shutdown(socket.SHUT_WR)))
                sending.start()
                heard.append(self.hear(caller) == data)
                sending.join()

    def boot(self, kernel, *options):
        """The run, with this side of its sockets; what was heard of the guest, and of its echo."""
        answer, heard, echoes, over = os.urandom(3 << 20), [], [], threading.Event()
        listeners = self.listen(1234), self.listen(1235)
        threads = [threading.Thread(target=target, args=args, daemon=True)
                   for target, args in ((self.answer_guest, (listeners[0], answer, heard)),
                                        (self.greet_callers, (listeners[1], 8)),
                                        (self.ask_guest, (over, echoes)))]
        for thread in threads:
            thread.start()
        try:
            boot = Boot(kernel, *options, "--vsock", f"{self.socket},guest-cid={self.CID}", "--share",
                        self.folder, command=["sh", "-c", self.WORK])
        finally:
            over.set()
        for thread in threads:
            thread.join(timeout=10)
        return boot, hashlib.sha256(answer).hexdigest(), heard, echoes

    def check_words(self, boot, digest):
        self.assertEqual(boot.status, 0, boot)
        self.assertEqual(boot.output.splitlines(),
                         [str(self.CID), *["vsock_work: connect: Connection reset by peer"] * 2,
                          f"{digest}  -", *(f"hello, caller {n}" for n in range(1, 9))], boot)

    def test_carry_bytes_both_ways_and_several_connections_at_once(self):
        report = self.path("report.json")
        for options in ["--sev"], [], ["--sev", "--cpus", "2", "--threads"]:
            for kernel in kernels:
                with self.subTest(kernel=kernel.name, options=options):
                    boot, digest, heard, echoes = self.boot(kernel, *options, "--report-json", report)
                    print(f"{kernel.name} {' '.join(options)}: {boot.seconds:.1f} s", flush=True)
                    self.check_words(boot, digest)
                    self.assertEqual((heard == [self.contents], echoes), (True, [True, True]), boot)
                    self.assertFalse(os.path.exists(self.socket), boot)
                    told = read_report(report)
                    self.assertEqual(told["causes"], [], boot)
                    if options:
                        self.assertGreaterEqual(told["swiotlb"]["bytes_out"], 6 << 20)
                        self.assertGreaterEqual(told["swiotlb"]["bytes_in"], 7 << 20)
                self.doCleanups()
                self.setUp()

    def test_are_the_same_in_a_replay_in_which_nobody_is_there(self):
        recording, *traces = map(self.path, ("a.rec", "a.trace", "b.trace"))
        boot, digest, _, _ = self.boot(kernels[0], "--sev", "--record", recording, "--trace", traces[0])
        self.check_words(boot, digest)
        again = subprocess.run([program, "run", "--replay", recording, "--trace", traces[1], "--timeout",
                                str(HANGS_S)], text=True, errors="replace", capture_output=True,
                               stdin=subprocess.DEVNULL, timeout=HANGS_S)
        self.assertEqual((again.returncode, again.stdout), (0, boot.output), again.stderr[-2000:])
        self.assertEqual(*(hashlib.sha256(path.read_bytes()).hexdigest() for path in traces))

    def test_end_no_run_whose_device_lies(self):
        with self.listen(1):
            lying = subprocess.run(
                [program, "run", "--quiet", "--sev", "--hostile", "12,from=1,every=8,by=both", "--timeout",
                 "20", "--vsock", self.socket, "--share", self.folder, kernels[0], "--", "sh", "-c",
                 "for n in 1 2 3; do timeout 1 /mnt/share/vsock_work connect 2 1 < /mnt/share/data; done"],
                capture_output=True, stdin=subprocess.DEVNULL, timeout=HANGS_S)
        self.assertIn(b"hostile acts", lying.stderr)
        self.assertGreaterEqual(lying.returncode, 0, lying.stderr[-2000:])

    def test_leave_no_file_behind_a_signal(self):
        run = subprocess.Popen([program, "run", "--quiet", "--vsock", self.socket, kernels[0], "--", "sleep",
                                str(HANGS_S)], stdin=subprocess.DEVNULL)
        while not os.path.exists(self.socket) and run.poll() is None:
            time.sleep(0.05)
        self.assertEqual(os.stat(self.socket).st_mode & 0o777, 0o600)
        run.terminate()
        self.assertEqual(run.wait(timeout=HANGS_S), -15)
        self.assertFalse(os.path.exists(self.socket))


def handed_out(archive, name):
    return subprocess.run(["tar", "-xOf", archive, name], capture_output=True, text=True, check=True).stdout


class Trees(EachKernel):
    """A kernel and its modules where `make` leaves them, and runs side by side that read them."""

    def tree_of(self, kernel):
        """As scripts/Makefile.build of Linux leaves it; what is in modules.builtin is so there, too."""
        modules = kernel.parent.parent / "lib/modules" / release_of(kernel)
        if not modules.is_dir():
            modules = kernel.parent
        if not (modules / "kernel").is_dir():
            modules = Path("/lib/modules") / release_of(kernel)
        names = ("virtio", "virtio_ring", "virtio_pci", "virtio_pci_modern_dev", "virtio_pci_legacy_dev",
                 "virtio_blk")
        found = [path for path in (modules / "kernel").rglob("*.ko*") if path.name.split(".")[0] in names]
        if not found:
            self.skipTest(f"there are no modules of {release_of(kernel)}")
        tree = Path(tempfile.mkdtemp(dir=folder_for_run.name))
        (tree / "arch/x86/boot").mkdir(parents=True)
        shutil.copy(kernel, tree / "arch/x86/boot/bzImage")
        for path in found:
            name = path.name.split(".")[0]
            unpack = {".xz": ["xz", "-dc"], ".zst": ["zstd", "-dc"]}.get(path.suffix, ["cat"])
            with open(tree / f"{name}.ko", "wb") as file:
                subprocess.run([*unpack, path], stdout=file, check=True)
        (tree / "modules.order").write_text("".join(f"{path.name.split('.')[0]}.o\n" for path in found))
        if (modules / "modules.builtin").exists():
            shutil.copy(modules / "modules.builtin", tree)
        return tree

    def test_run_what_was_built_there_and_three_at_once_do_not_meet(self):
        for kernel in kernels[:1]:
            tree = self.tree_of(kernel)
            runs = []
            for i in range(3):
                image, out = tree / f"disk{i}", tree / f"out{i}.tar"
                image.write_bytes(os.urandom(1 << 20))
                words = [program, "run", "--quiet", "--disk", image, "--out", out, "--", "sh", "-c",
                         "sha256sum < /dev/vda > /mnt/out/sum; dd if=/dev/zero of=/dev/vda count=1; uname -r"]
                digest = hashlib.sha256(image.read_bytes()).hexdigest()
                runs.append((image, out, digest, subprocess.Popen(
                    words, cwd=tree, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE)))
            for image, out, digest, run in runs:
                output, errors = run.communicate(timeout=HANGS_S)
                self.assertEqual(run.returncode, 0, output + errors)
                self.assertEqual(output.splitlines()[-1], release_of(kernel))
                self.assertIn("runs arch/x86/boot/bzImage", errors)
                self.assertEqual(image.read_bytes()[:512], bytes(512))
                self.assertEqual(handed_out(out, "./sum").split()[0], digest)


class HostRoot(EachKernel):
    LOOK = """
        pwd; python3 -c 'import os; print(os.uname().release)' && touch "$1/written" && ls "$1/written"
        cat "$1/file"; echo more >> "$1/file"; cat "$1/file" | wc -l; ls /proc/self/fd > /dev/null
        unshare --user --map-root-user echo a namespace; printf 'TAP version 13\n1..1\nok 1 a\n'
        cp "$1/file" /mnt/out"""

    def test_is_the_guests_and_keeps_nothing_that_the_guest_changed(self):
        if os.uname().machine != "x86_64" or not shutil.which("python3", path="/usr/bin:/bin"):
            self.skipTest("this host's programs are none for the guest")
        # Not below /tmp, which is the guest's own.
        with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
            folder, out = Path(name), Path(folder_for_run.name) / "out.tar"
            (folder / "file").write_text("a line\n")
            command = ["sh", "-c", f"cd {name}; set -- {name}; {self.LOOK}"]
            for kernel, boot in self.each("--root", "/", "--out", str(out), command=command):
                if "--root needs the module" in boot.console:
                    self.assertEqual(boot.status, 65, boot)
                    continue
                self.assertEqual(boot.status, 0, boot)
                self.assertEqual(boot.output.splitlines()[:6],
                                 [name, release_of(kernel), f"{name}/written", "a line", "2", "a namespace"])
                self.assertIn("cbit: 1 tests passed, 0 failed, 0 skipped", boot.console)
                self.assertEqual([path.name for path in folder.iterdir()], ["file"])
                self.assertEqual((folder / "file").read_text(), "a line\n")
                self.assertEqual(handed_out(out, "./file"), "a line\nmore\n")


class Ssh(EachKernel):
    def test_leads_into_the_guests_root_and_nobody_else_comes_in(self):
        needed = [shutil.which(name, path="/usr/sbin:/usr/bin") for name in ("sshd", "ssh", "ssh-keygen")]
        if os.uname().machine != "x86_64" or None in needed:
            self.skipTest("there is no openssh-server for x86-64")
        keys = Path(tempfile.mkdtemp(dir=folder_for_run.name))
        for name in ("in", "out"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", keys / name], check=True)
        for kernel in kernels:
            words = [program, "run", "--root", "/", "--ssh", "0", "--ssh-key", keys / "in.pub", "--timeout",
                     str(HANGS_S), kernel, "--", "sh", "-c", "until [ -e /tmp/enough ]; do sleep 0.2; done"]
            with subprocess.Popen(words, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, errors="replace") as run:
                console = []
                for line in run.stderr:
                    console.append(line)
                    if "once the guest has booted: " in line or run.poll() is not None:
                        break
                if "once the guest" not in console[-1]:
                    self.assertIn("--root needs the module", "".join(console))
                    continue
                threading.Thread(target=console.extend, args=(run.stderr,), daemon=True).start()
                line = console[-1].partition("booted: ")[2].strip() + " -o BatchMode=yes "

                def ask(way, command):
                    return subprocess.run(["sh", "-c", way + command], text=True, capture_output=True)

                answer = None
                while run.poll() is None and (answer is None or answer.returncode == 255):
                    answer = ask(line, "'uname -r; id -un; touch /tmp/there'")
                self.assertEqual((answer.returncode, answer.stdout), (0, f"{release_of(kernel)}\nroot\n"),
                                 "".join(console[-40:]) + answer.stderr)
                stranger = line.replace(str(keys / "in"), str(keys / "out")) + " -o IdentitiesOnly=yes "
                other = ask(stranger, "true")
                self.assertIn("Permission denied (publickey)", other.stderr)
                self.assertEqual(ask(line, "'ls /tmp; touch /tmp/enough'").stdout, "there\n")
                self.assertEqual(run.wait(timeout=HANGS_S), 0)


def module_of(kernel, name):
    """A module of the kernel, where its own are in a folder beside it; None: it has none of this name."""
    release = release_of(kernel)
    for folder in kernel.parent / "lib", kernel.parent.parent / "lib", Path("/lib"):
        found = sorted((folder / "modules" / release).rglob(f"{name}.ko*"))
        if found:
            return found[0]
    return None


def rows_of_table(text, first):
    """The rows of the table in Markdown whose first column is named so, each as {column: cell}."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    begin = next(number for number, cells in enumerate(lines) if cells[0] == first)
    rows = []
    for cells in lines[begin + 2:]:
        if len(cells) != len(lines[begin]):
            break
        rows.append(dict(zip(lines[begin], cells)))
    return rows


class SoftwareRdma(EachKernel):
    """What a program does with rdma_rxe over the guest's network device, and the model's table beside it."""

    PAGE = HERE.parent.parent / "docs/rdma-linux.md"
    SETUP = """
        ip address add {address}/24 dev eth0 2> /dev/null
        rdma link add rxe0 type rxe netdev eth0 || exit 1
        for device in /sys/bus/pci/devices/*; do
          if [ $(cat $device/device) = 0xcb17 ]; then echo 1 > $device/enable; BAR=$device/resource0; fi
        done
        """
    # By the names of the model's platforms: what the guest is and has.
    GUESTS = {
        "plain": ([], ""),
        "SME, 64-bit NIC": (["--sme"], ""),
        "SME, 47-bit NIC": (["--sme"], ",model=e1000"),
        "SME, 47-bit NIC, IOMMU": (["--sme", "--iommu", "amd"], ",model=e1000"),
        "SEV": (["--sev"], ""),
    }

    @classmethod
    def setUpClass(cls):
        if os.uname().machine != "x86_64" or not shutil.which("rdma", path="/usr/bin:/bin:/usr/sbin:/sbin"):
            raise unittest.SkipTest("this host has no iproute2 with rdma for the guest")
        cls.folder = Path(tempfile.mkdtemp(dir=folder_for_run.name))
        built = subprocess.run(["cc", "-O2", "-o", cls.folder / "verbs_work", HERE / "rdma/verbs_work.c",
                                "-libverbs"], text=True, capture_output=True)
        if "infiniband/verbs.h: No such file" in built.stderr:
            raise unittest.SkipTest("there is no libibverbs to build with")
        assert built.returncode == 0, built.stderr
        cls.page = cls.PAGE.read_text()

    def which(self):
        """Those that have the driver; the checksum is a module of its own, which modprobe would load."""
        found = [kernel for kernel in kernels if module_of(kernel, "rdma_rxe")]
        if not found:
            self.skipTest("no kernel has the module rdma_rxe")
        return found

    def words(self, kernel, address, *what):
        modules = [module for name in ("crc32_generic", "rdma_rxe") if (module := module_of(kernel, name))]
        options = [word for module in modules for word in ("--module", module)]
        # <folder>/lib/modules/RELEASE/kernel/...
        folder = next(parent for parent in modules[0].parents if parent.name == release_of(kernel))
        script = f"{self.SETUP.format(address=address)} /mnt/share/verbs_work {' '.join(what)}"
        return [*options, "--modules", folder, "--root", "/", "--share", self.folder, "--timeout", HANGS_S,
                kernel, "--", "sh", "-c", script]

    @staticmethod
    def told(output):
        return dict(line.split(": ", 1) for line in output.splitlines() if ": " in line)

    def test_registers_what_is_memory_and_refuses_the_rest(self):
        rows = rows_of_table(self.page, "what")
        report = self.folder / "report.json"
        for kernel in self.which():
            column = "Linux 6.1" if release_of(kernel).startswith("6.1.") else "Linux 6.12"
            documented = {row["what"]: row[column] for row in rows}
            for platform, (options, _) in self.GUESTS.items():
                if "47-bit" in platform:
                    continue
                with self.subTest(kernel=kernel.name, platform=platform):
                    words = self.words(kernel, "10.0.2.15", "alone", "rxe0", "10.0.2.15", "$BAR")
                    boot = subprocess.run(
                        [program, "run", *options, "--net", "user", "--device", "test-dma", "--report-json",
                         report, "--secret", "verbs_work, transfer 3", *map(str, words)],
                        text=True, capture_output=True, errors="replace", timeout=HANGS_S + 60)
                    print(f"{kernel.name} {platform}: rxe alone", flush=True)
                    self.assertEqual(boot.returncode, 0, boot.stdout + boot.stderr[-3000:])
                    self.assertEqual(self.told(boot.stdout), documented)
                    said = read_report(report)
                    self.assertEqual(said["causes"], [])
                    # Between two queue pairs of one device nothing leaves the guest's own memory.
                    if "SEV" in platform:
                        self.assertEqual(said["secrets"][0]["host"], 0)

    def meet(self, kernel, options, model, trace, report):
        first = [program, "run", *options, *two_guests.nic(0, model), "--report-json", report, "--secret",
                 "verbs_work, transfer 1", "--trace", trace, "--trace-format", "jsonl",
                 *self.words(kernel, "10.9.0.1", "meet", "rxe0", "10.9.0.1", "10.9.0.2")]
        second = [program, "run", *two_guests.nic(1),
                  *self.words(kernel, "10.9.0.2", "serve", "rxe0", "10.9.0.2")]
        done = two_guests.run(first, second, 2 * HANGS_S)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr[-3000:] + done.peer[-3000:])
        self.assertIn("ping-pong of the peer: yes", done.peer)
        return self.told(done.stdout)

    def test_over_the_wire_does_what_the_models_table_says(self):
        reason = two_guests.cannot_be()
        if reason:
            self.skipTest(reason)
        table = subprocess.run([program, "table", "rdma", "--format", "markdown"], text=True,
                               capture_output=True)
        model = {row["platform"]: row for row in rows_of_table(table.stdout, "platform")
                 if row["method"] == "software RDMA, 6.1"}
        documented = {row["platform"]: row for row in rows_of_table(self.page, "platform")}
        self.assertEqual(documented.keys(), model.keys())
        self.assertEqual(self.GUESTS.keys(), model.keys())
        trace, report = self.folder / "trace.jsonl", self.folder / "report.json"
        for kernel in self.which():
            for platform, (options, nic) in self.GUESTS.items():
                with self.subTest(kernel=kernel.name, platform=platform):
                    linux = self.meet(kernel, options, nic, trace, report)
                    traffic = self.traffic_of(compare.read(trace))
                    print(f"{kernel.name} {platform}: {traffic}", flush=True)
                    self.hold_against(model[platform], linux, traffic)
                    self.hold_against_page(documented[platform], model[platform], traffic)
                    said = read_report(report)
                    self.assertEqual(said["causes"], [])
                    # The wire's own encryption there is none: frames in the pool are for everybody.
                    if "SEV" in platform:
                        self.assertGreater(said["secrets"][0]["host"], 0)

    @staticmethod
    def traffic_of(events):
        """What the network device's driver mapped and bounced during the writes, and what registering did."""
        nic = "0000:00:03.0"
        during, registering = (
            compare.between(events, (f"verbs_work: {what} begins", f"verbs_work: {what} ends"))
            for what in ("traffic", "registration"))
        mapped = [event for event in during if event["event"] == "dma_map" and event["device"] == nic]
        bounced = [event["bytes"] for event in during if event["event"] == "swiotlb_bounce"]
        return {"paths": sorted({event["path"] for event in mapped}), "frames": len(mapped),
                "bytes": sum(event["bytes"] for event in mapped),
                "copies": len(bounced), "bytes bounced": sum(bounced),
                "kinds": sorted({event["kind"] for event in mapped}),
                "for registration": sum(event["event"] in ("dma_map", "set_memory") and
                                        event.get("device") in (None, nic) for event in registering)}

    def hold_against(self, model, linux, traffic):
        for column in "registration", "NIC's data arrives", "application's data arrives":
            self.assertEqual(linux[column], model[column])
        for what in "read", "ping-pong", "after deregistration":
            self.assertEqual(linux[what], "yes", what)
        # Frames are mapped, and never a region: neither when it is registered, nor as a list of pages.
        self.assertEqual(traffic["for registration"], 0)
        self.assertNotIn("sg", traffic["kinds"])
        self.assertGreaterEqual(traffic["bytes"], 65536)
        self.assertEqual(traffic["copies"] > 0, model["copies"] != "0", traffic)
        self.assertEqual(traffic["bytes bounced"] > 0, model["bytes bounced"] != "0", traffic)
        if model["copies"] != "0":  # each way once at least
            self.assertGreaterEqual(traffic["bytes bounced"], 2 * 65536)

    def hold_against_page(self, row, model, traffic):
        for column in "registration", "NIC's data arrives", "application's data arrives":
            self.assertEqual(row[column], model[column])
        for column in "copies", "bytes bounced":
            self.assertEqual(row[f"model: {column}"], model[column])
        self.assertEqual(row["Linux: its frames go"], ", ".join(traffic["paths"]))


class Displays(EachKernel):
    """What a process draws, wherever TTM has it, and what the screen shows; and the model."""

    PAGE = HERE.parent.parent / "docs/display.md"
    MODEL = HERE / "display/moves.toml"
    PLATFORMS = {"plain": [], "sme": ["--sme"], "sev": ["--sev"]}
    # It waits behind its last line; the guest is powered off with the picture on the screen.
    BUFFERS = """
        : > /tmp/said; /mnt/share/display_work buffers > /tmp/said 2>&1 &
        while ! grep -q '^done$' /tmp/said && kill -0 $! 2> /dev/null; do sleep 0.1; done
        cat /tmp/said"""

    @classmethod
    def setUpClass(cls):
        if os.uname().machine != "x86_64":
            raise unittest.SkipTest("this host's programs are none for the guest")
        cls.folder = Path(tempfile.mkdtemp(dir=folder_for_run.name))
        built = subprocess.run(["cc", "-O2", "-static", "-I/usr/include/libdrm", "-o",
                                cls.folder / "display_work", HERE / "display/display_work.c"], text=True,
                               capture_output=True)
        if "drm.h: No such file" in built.stderr:
            raise unittest.SkipTest("there is no libdrm to build with")
        assert built.returncode == 0, built.stderr
        cls.page = cls.PAGE.read_text()

    def which(self):
        found = [kernel for kernel in kernels if module_of(kernel, "bochs") and module_of(kernel, "9p")]
        if not found:
            self.skipTest("no kernel has the modules bochs and 9p; linux-image-amd64 has them")
        return found

    @staticmethod
    def picture(width, height, number):
        """As display_work.c draws it: red, green and blue of each pixel."""
        rows = (bytes(part for x in range(width)
                      for part in ((3 * x + 40 * number) & 0xff, 5 * y & 0xff,
                                   ((x ^ y) + 16 * number) & 0xff))
                for y in range(height))
        return b"".join(rows)

    def assert_shows(self, screen, width, height, number, boot):
        header, file = b"P6\n%d %d\n255\n" % (width, height), screen.read_bytes()
        self.assertEqual(file[:len(header)], header, boot)
        seen, drawn = file[len(header):], self.picture(width, height, number)
        wrong = [at for at in range(0, len(drawn), 3) if seen[at:at + 3] != drawn[at:at + 3]]
        self.assertEqual(wrong[:1], [], f"{len(wrong)} of {width * height} pixels are other{boot}")

    def boots(self, script):
        """Of each platform and kernel: the run, and the screen at its end."""
        screen, report = self.folder / "screen.ppm", self.folder / "report.json"
        for platform, options in self.PLATFORMS.items():
            for _, boot in self.each(
                    *options, "--display", "bochs", "--screendump", str(screen), "--share", str(self.folder),
                    "--report-json", str(report), "--append", "vt.global_cursor_default=0",
                    command=["sh", "-c", script]):
                self.assertEqual(boot.status, 0, boot)
                yield platform, boot, screen
                # Where a mapping of video memory has the C-bit, it reaches nothing.
                self.assertNotIn("accesses were refused", boot.console)
                told = read_report(report)
                self.assertEqual(told["causes"], [])
                # The display, which is in the first slot, does no DMA.
                self.assertNotIn("0000:00:03.0", [device["device"] for device in told["devices"]])

    def on_model(self, platform):
        """Where the model's process saw what was drawn: what the experiment's comments call the places."""
        experiment = self.folder / "moves.toml"
        text = self.MODEL.read_text()
        experiment.write_text(text.replace('platform = "sev"', f'platform = "{platform}"'))
        done = subprocess.run([program, "lab", "run", experiment], text=True, capture_output=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return re.findall(r"^# the buffer: (.*)$", text, re.MULTILINE)

    def test_show_buffers_wherever_ttm_has_moved_them(self):
        documented = {row["the buffer"]: row for row in rows_of_table(self.page, "the buffer")}
        for platform, boot, screen in self.boots(self.BUFFERS):
            *lines, last = boot.output.splitlines()
            self.assertEqual(last, "done", boot)
            self.assertEqual(dict(line.split(": ") for line in lines),
                             {place: row["Linux: the process sees"] for place, row in documented.items()})
            self.assertEqual(self.on_model(platform),
                             [place for place, row in documented.items() if row["the model"] == "same"])
            self.assert_shows(screen, 640, 480, 2, boot)

    def test_show_what_is_drawn_on_the_console(self):
        for _, boot, screen in self.boots("/mnt/share/display_work console"):
            self.assertEqual(boot.output, "done\n", boot)
            self.assert_shows(screen, 1024, 768, 7, boot)


class WithDriver(unittest.TestCase):
    def each(self):
        for kernel in kernels:
            with self.subTest(kernel=kernel.name):
                yield kernel

    def build(self, kernel, name):
        """The module, built for that kernel."""
        release = release_of(kernel)
        headers = Path("/usr/src") / f"linux-headers-{release}"
        if not headers.exists():
            self.skipTest(f"there are no headers of {release}")
        folder = Path(folder_for_drivers.name) / release
        if not folder.exists():
            shutil.copytree(DRIVER, folder)
            subprocess.run(["make", "-C", folder, f"HEADERS={headers}", "KCFLAGS=-g"], check=True,
                           capture_output=True)
        return folder / name


class Model(WithDriver):
    """The same work, on an unmodified kernel and on the model kernel."""

    # Between these lines virtblk_probe() of Linux 6.1 makes its queue, and virtblk_remove() frees it.
    # Partitions are read behind the one and before the other.
    THE_DRIVERS_OWN = ("default/read/poll queues", "[vda]")
    ITS_END = ("cbit_work: unbinds", "cbit_work: unbound")
    LET_GO_OF_THE_DISK = """
        cd /sys/bus/virtio/drivers/virtio_blk 2> /dev/null || exit 0
        echo 'cbit_work: unbinds' > /dev/kmsg; echo virtio0 > unbind; echo 'cbit_work: unbound' > /dev/kmsg"""

    def test_does_what_linux_does(self):
        for kernel in self.each():
            if not kernel.name.startswith("vmlinuz-6.1."):
                continue  # the experiments are of 6.1
            for experiment in sorted((HERE / "model").glob("*.toml")):
                with self.subTest(work=experiment.stem):
                    ours, theirs = self.on_model(experiment), self.on_linux(kernel, experiment.stem)
                    self.assertIsNone(compare.difference(ours, theirs))

    @staticmethod
    def disk_of(experiment):
        if experiment not in DISKS:
            return []
        image = Path(folder_for_run.name) / "work.img"
        image.write_bytes(bytes(4 << 20))
        return ["--disk", f"{image}{DISKS[experiment]}"]

    @staticmethod
    def on_model(experiment):
        trace = Path(folder_for_run.name) / "model.jsonl"
        words = [program, "lab", "run", experiment, "--trace", trace, "--trace-format", "jsonl"]
        subprocess.run(words, check=True, capture_output=True)
        return compare.read(trace)

    def on_linux(self, kernel, experiment):
        trace = Path(folder_for_run.name) / "linux.jsonl"
        work = experiment.removesuffix("_packed")
        words = f"cbit_work.work={work} swiotlb={POOLS.get(work, 32768)}"
        boot = Boot(kernel, "--sev", *self.disk_of(experiment), "--device", "test-dma", "--module",
                    self.build(kernel, "cbit_work.ko"), "--append", words, "--trace", str(trace),
                    "--trace-format", "jsonl", command=["sh", "-c", self.LET_GO_OF_THE_DISK])
        self.assertIn(f"cbit_work: {work} done (0)", boot.console, boot)
        return compare.between(compare.read(trace), self.THE_DRIVERS_OWN,
                               (f"cbit_work: {work} begins", f"cbit_work: {work} done"), self.ITS_END)


def line_of_call(function, call):
    """The last one in a function of the driver's source."""
    lines = (DRIVER / "cbit_mistakes.c").read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if re.match(rf"static .*\b{function}\(", line))
    end = lines.index("}", first)
    return 1 + max(i for i in range(first + 1, end) if call in lines[i])


class Driver(WithDriver):
    """An unmodified kernel, and a driver of our own that makes a mistake."""

    def run_with(self, kernel, mistake, *options, device=""):
        report = Path(folder_for_run.name) / "report.json"
        module = self.build(kernel, "cbit_mistakes.ko")
        boot = Boot(kernel, *options, "--device", f"test-dma{device}", "--module", module, "--append",
                    f"cbit_mistakes.mistake={mistake}", "--report-json", str(report), command=["true"])
        self.assertEqual(boot.status, 0, boot)
        self.assertIn(f"cbit_mistakes: {mistake} done", boot.console, boot)
        return read_report(report)

    def test_that_is_correct_is_not_accused(self):
        for kernel in self.each():
            for options in ["--sev"], ["--sme"], []:
                told = self.run_with(kernel, "none", *options)
                self.assertEqual(told["causes"], [], options)
                self.assertEqual(told["exposure"]["searched"], "all" if options else "not")
                self.assertEqual(told["exposure"]["bytes"], 0, told["exposure"])
                (device,) = told["devices"]
                self.assertEqual((device["bytes_read"], device["bytes_written"]), (4096, 4096), options)

    def test_without_a_signature_is_refused_where_one_is_wanted(self):
        for kernel in self.each():
            boot = Boot(kernel, "--quiet", "--module", self.build(kernel, "cbit_mistakes.ko"), "--append",
                        "module.sig_enforce=1", command=["lsmod"])
            self.assertEqual(boot.status, 65, boot)
            self.assertIn("cbit: the kernel refused module cbit_mistakes: Key was rejected by service",
                          boot.console)
            self.assertNotIn("cbit_mistakes", boot.output)

    def test_that_makes_a_mistake_is_told_which_and_where(self):
        for kernel in self.each():
            for mistake, causes in MISTAKES.items():
                with self.subTest(mistake=mistake):
                    told = self.run_with(kernel, mistake, "--sev")
                    self.assertEqual([cause["name"] for cause in told["causes"]], list(causes))
                    for cause in told["causes"]:
                        if causes[cause["name"]] is not None:
                            self.check_place(mistake, cause, causes[cause["name"]])

    def check_place(self, mistake, cause, call):
        """The evidence names the function, and the very line of the call."""
        # A missing sync shows at the end, when nobody is anywhere.
        label = "mapped by" if cause["name"] == "missing-sync" else "the kernel was in"
        (where,) = [one["text"] for one in cause["evidence"] if one["label"] == label]
        line = line_of_call(mistake, call)
        place = rf"{mistake}\+0x[0-9a-f]+ \[cbit_mistakes\] at cbit_mistakes\.c:{line}\b"
        if cause["name"] in INLINED:
            function, call = INLINED[cause["name"]]
            place += rf" \({function} at cbit_mistakes\.c:{line_of_call(function, call)}\b"
        self.assertRegex(where, f"^{place}", cause)

    def test_that_copies_a_secret_beside_a_mapping_is_shown_it(self):
        for kernel in self.each():
            exposure = self.run_with(kernel, "leak_to_shared", "--sev")["exposure"]
            self.assertEqual(exposure["bytes"], 128, exposure)
            (place,) = exposure["places"]
            self.assertEqual(place["bytes"], 128)
            self.assertNotIn(place["private"]["guest"], (place["private"]["host"], place["private"]["dram"]))

    def test_that_makes_a_mistake_may_get_away_with_it_elsewhere(self):
        for kernel in self.each():
            for (mistake, option), causes in ELSEWHERE.items():
                with self.subTest(mistake=mistake, option=option):
                    told = self.run_with(kernel, mistake, *([option] if option else []))
                    self.assertEqual([cause["name"] for cause in told["causes"]], causes)

    def test_with_a_mask_that_is_wider_than_its_device_fails_on_sme_alone(self):
        for kernel in self.each():
            for options, causes in (["--sev"], []), (["--sme"], ["dma-address-beyond-device"]), ([], []):
                told = self.run_with(kernel, "mask_too_wide", *options, device=",address-bits=32")
                self.assertEqual([cause["name"] for cause in told["causes"]], causes, options)


class Console(EachKernel):
    def test_has_a_shell_at_a_terminal_and_a_monitor(self):
        for kernel in kernels:
            with self.subTest(kernel=kernel.name), AtTerminal(
                    [program, "run", "--sev", "--report", "--device", "virtio-rng", kernel], HANGS_S) as at:
                at.wait_for(b"/ # ")
                at.type(b"sleep 100000\r")
                time.sleep(1)
                at.type(b"\x03")  # to the guest's sleep
                at.wait_for(b"/ # ")
                at.type(b"echo tw\x1b[Do\x7f\x1b[C$((40+2))\r")
                at.wait_for(b"tw42")
                at.type(b"\x01c")
                at.wait_for(PROMPT)
                for command, expected in (("info registers", b"CS64"), ("info mem", b" encrypted\r\n"),
                                          ("info tlb $rip 2", b" encrypted\r\n"), ("x/2i $pc", b"# "),
                                          ("info dma", b"Bounce buffers: "),
                                          ("info pages", b"shared    key none   written by device")):
                    at.type(command.encode() + b"\r")
                    self.assertIn(expected, at.wait_for(PROMPT), command)
                at.type(b"cont\rpoweroff -f\r")
                self.assertEqual(at.end(), 0)
                self.assertTrue(at.is_as_before())
                self.assertIn(b"Causes: none", at.output)


class Debugger(EachKernel):
    """gdb, by the script that the documentation shows."""

    def setUp(self):
        if not shutil.which("gdb"):
            self.skipTest("there is no gdb")
        self.folder = Path(tempfile.mkdtemp(dir=folder_for_run.name))

    def script(self):
        text = (HERE.parent.parent / "docs/gdb.md").read_text()
        return re.search(r"```gdb\n(.*?)```", text, re.DOTALL)[1]

    def find_module(self, kernel):
        beside = kernel.parent.parent / "lib/modules" / release_of(kernel)
        for folder in (beside, kernel.parent, Path("/lib/modules") / release_of(kernel)):
            for module in folder.rglob("virtio_blk.ko"):
                return module
        return None

    def test_stops_in_start_kernel_and_in_a_module(self):
        kernel = kernels[0]
        module = self.find_module(kernel)
        if module is None:
            self.skipTest("the kernel's modules are elsewhere, or compressed")
        shutil.copy(module, self.folder)
        (self.folder / "disk.img").write_bytes(bytes(1 << 20))
        (self.folder / "script.gdb").write_text(f"""target remote {self.folder}/socket
            {self.script()}
            watch *(long *)&jiffies
            continue
            x/2gx &linux_banner
            detach
            """.replace("\n            ", "\n"))
        words = [program, "run", "--sev", "--gdb", f"unix:{self.folder}/socket", "--freeze",
                 "--gdb-symbols", self.folder / "kernel.sym", "--disk", f"{self.folder}/disk.img,ro",
                 "--timeout", str(HANGS_S), kernel, "--", "echo", "done"]
        with subprocess.Popen(words, cwd=self.folder, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
            self.assertIn("for a debugger", run.stderr.readline())
            while not (self.folder / "kernel.sym").exists():
                time.sleep(0.1)
            gdb = subprocess.run(["gdb", "-nx", "-batch", "-x", "script.gdb", "kernel.sym"], cwd=self.folder,
                                 text=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=HANGS_S)
            output, _ = run.communicate(timeout=HANGS_S)
        said = gdb.stdout + gdb.stderr
        self.assertEqual(run.returncode, 0, said)
        self.assertEqual(output, "done\n")
        self.assertRegex(said, r"Breakpoint 1, 0x[0-9a-f]+ in start_kernel \(\)", said)
        self.assertRegex(said, r"Breakpoint 3, 0x[0-9a-f]+ in virtblk_probe \(\)", said)
        self.assertIn("virtblk_probe in section .text of", said)
        self.assertIn("# virtblk_probe+0x0 [virtio_blk]", said)  # cbit's own knowledge agrees with gdb's
        before, after = map(int, re.search(r"Old value = (\d+)\nNew value = (\d+)", said).groups())
        self.assertEqual(after, before + 1, said)
        self.assertIn("0x65762078756e694c", said)  # "Linux ve": the guest's own view


class KernelScripts(EachKernel):
    """Linux' own scripts for gdb, on the first kernel. CBIT_TEST_VMLINUX is its vmlinux, with vmlinux-gdb.py
    and scripts/ beside it, as docs/gdb.md makes them."""

    SCRIPT = """set pagination off
        target remote SOCKET
        hbreak do_init_module
        continue
        lx-version
        lx-dmesg
        lx-ps
        lx-lsmod
        printf "current: %s\\n", $lx_current().comm
        printf "cpu_number: %d %d\\n", $lx_per_cpu("cpu_number", 0), $lx_per_cpu("cpu_number", 3)
        printf "first task: %s\\n", $lx_task_by_pid(1).comm
        lx-symbols
        detach
        """

    def setUp(self):
        self.vmlinux = Path(os.environ.get("CBIT_TEST_VMLINUX", "/none"))
        if not (self.vmlinux.parent / "vmlinux-gdb.py").exists():
            self.skipTest("CBIT_TEST_VMLINUX names no vmlinux with vmlinux-gdb.py beside it")
        if not shutil.which("gdb"):
            self.skipTest("there is no gdb")

    def say(self, *options):
        folder = Path(tempfile.mkdtemp(dir=folder_for_run.name))
        script = self.SCRIPT.replace("SOCKET", f"{folder}/socket").replace("\n        ", "\n")
        (folder / "script.gdb").write_text(script)
        words = [program, "run", *options, "--cpus", "4", "--gdb", f"unix:{folder}/socket", "--freeze",
                 "--append", "nokaslr", "--device", "virtio-rng", "--timeout", str(HANGS_S), kernels[0],
                 "--", "true"]
        with subprocess.Popen(words, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE) as run:
            self.assertIn("for a debugger", run.stderr.readline())
            # lx-symbols wants the vmlinux by this name where it is called.
            gdb = subprocess.run(["gdb", "-nx", "-batch", "-ex", "source vmlinux-gdb.py",
                                  "-x", folder / "script.gdb", "vmlinux"], cwd=self.vmlinux.parent, text=True,
                                 capture_output=True, stdin=subprocess.DEVNULL, timeout=HANGS_S)
            run.communicate(timeout=HANGS_S)
        said = gdb.stdout + gdb.stderr
        self.assertEqual(run.returncode, 0, said)
        return said

    def test_know_the_guest(self):
        for options in (), ("--sev",):
            with self.subTest(options=options):
                said = self.say(*options)
                self.assertIn(f"\nLinux version {release_of(kernels[0])} ", said)
                self.assertRegex(said, r"\] Command line: .*nokaslr")
                self.assertRegex(said, r"0x[0-9a-f]{16} +2 +kthreadd")
                self.assertRegex(said, r"0xffffffffc0[0-9a-f]+ +[a-z_]+ +[1-9][0-9]*  [0-9]")
                self.assertIn("current: insmod\n", said)
                self.assertIn("cpu_number: 0 3\n", said)
                self.assertIn("first task: init\n", said)
                self.assertIn("loading vmlinux\n", said)
                self.assertNotIn("Error in sourced command file", said)


class Memtest(unittest.TestCase):
    """memtest86+, which finds the processors in the ACPI tables and starts them by itself."""

    IMAGE = Path(os.environ.get("CBIT_TEST_MEMTEST", "/boot/memtest86+x64.bin"))

    def setUp(self):
        if not self.IMAGE.exists():
            self.skipTest("there is no memtest86+")

    def read_until(self, run, pattern):
        said = b""
        while not re.search(pattern, said):
            some = os.read(run.stdout.fileno(), 1 << 16)
            self.assertTrue(some, said[-2000:])
            said += some
        return said.decode(errors="replace")

    def test_tests_with_all_processors_and_finds_no_error(self):
        words = [program, "run", "--memory", "16M", "--cpus", "4", "--append", "console=ttyS0,115200",
                 "--timeout", str(HANGS_S), self.IMAGE]
        with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as run:
            try:  # the last test mostly waits, and all others are done when it begins
                said = self.read_until(run, rb"#10 \[Bit fade test")
            finally:
                run.kill()
        self.assertRegex(said, r"4 Cores 4 Threads +SMP: 4T \(PAR\)")
        self.assertRegex(said, r"Errors: 0 ")
        self.assertNotRegex(said, r"Errors: *[1-9]")


class Replays(EachKernel):
    """A run that was written down, done once more: without its network, its disk and whoever typed."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(dir=folder_for_run.name))

    def digest(self, name):
        return hashlib.sha256((self.folder / name).read_bytes()).hexdigest()

    def type_into(self, words, lines):
        """A shell at the console is given a line at each prompt; what it has said."""
        said = ""
        with subprocess.Popen(words, cwd=self.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as run:
            for line in [*lines, None]:
                while line is not None and not said.endswith("/ # "):
                    byte = run.stdout.read(1)
                    self.assertTrue(byte, said)
                    said += byte.decode(errors="replace")
                if line is not None:
                    run.stdin.write(f"{line}\n".encode())
                    run.stdin.flush()
                    said += " "
            rest, errors = run.communicate(timeout=HANGS_S)
        self.assertEqual(run.returncode, 0, said + errors.decode(errors="replace"))
        return said + rest.decode(errors="replace")

    def test_are_the_same_run_with_network_disk_console_and_three_processors(self):
        disk = os.urandom(1 << 20)
        (self.folder / "disk.img").write_bytes(disk)
        (self.folder / "data").write_bytes(os.urandom(100_000))
        fetched = self.digest("data")
        handler = functools.partial(QuietHandler, directory=self.folder)
        web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=web.serve_forever, daemon=True).start()
        machine = ["--sev", "--cpus", "3", "--net", "user", "--net", "user", "--disk", "disk.img"]
        said = self.type_into(
            [program, "run", *machine, "--record", "a.rec", "--trace", "a.trace", "--timeout", str(HANGS_S),
             kernels[0]],
            [f"wget -q -O - http://10.0.2.2:{web.server_port}/data | sha256sum",
             "sha256sum /dev/vda; echo changed > /dev/vda; sync", "poweroff -f"])
        web.shutdown()
        web.server_close()
        self.assertIn(fetched, said)
        self.assertIn(hashlib.sha256(disk).hexdigest(), said)
        os.remove(self.folder / "disk.img")
        for jit in ("on", "off"):
            words = [program, "run", "--replay", "a.rec", "--trace", "b.trace", "--jit", jit, "--timeout",
                     str(HANGS_S)]
            again = subprocess.run(words, cwd=self.folder, text=True, errors="replace", capture_output=True,
                                   stdin=subprocess.DEVNULL, timeout=HANGS_S)
            self.assertEqual(again.returncode, 0, again.stderr)
            self.assertIn(fetched, again.stdout)
            self.assertEqual(self.digest("a.trace"), self.digest("b.trace"))

    def test_of_another_initramfs_are_refused(self):
        recording = self.folder / "a.rec"
        boot = Boot(kernels[0], "--record", recording, command=["true"])
        self.assertEqual(boot.status, 0, boot)
        (self.folder / "busybox").write_bytes(Path(shutil.which("busybox")).read_bytes() + b"\0")
        boot = subprocess.run([program, "run", "--replay", recording, "--busybox", self.folder / "busybox"],
                              text=True, capture_output=True, stdin=subprocess.DEVNULL)
        self.assertEqual(boot.returncode, 65, boot.stderr)
        self.assertIn("the initramfs is another than that of", boot.stderr)

    def test_go_backwards_for_a_debugger(self):
        if not shutil.which("gdb"):
            self.skipTest("there is no gdb")
        boot = Boot(kernels[0], "--sev", "--record", self.folder / "a.rec", "--gdb-symbols",
                    self.folder / "kernel.sym", command=["echo", "done"])
        self.assertEqual(boot.status, 0, boot)
        (self.folder / "script.gdb").write_text(f"""target remote {self.folder}/socket
            set pagination off
            define tell
              echo $arg0=
              printf "rip %lx rsp %lx rax %lx jiffies %lu\\n", $rip, $rsp, $rax, *(long *)&jiffies
            end
            hbreak start_kernel
            continue
            tell start
            stepi
            tell stepped
            reverse-stepi
            tell start_again
            hbreak do_one_initcall
            continue
            tell first
            continue
            tell second
            reverse-continue
            tell first_again
            reverse-continue
            tell start_once_more
            delete 2
            watch *(long *)&jiffies
            continue
            tell ticked
            reverse-continue
            tell not_yet_ticked
            delete
            continue
            reverse-stepi
            stepi
            tell end
            hbreak start_kernel
            reverse-continue
            tell start_at_last
            delete
            reverse-continue
            kill
            """.replace("\n            ", "\n"))
        words = [program, "run", "--replay", "a.rec", "--gdb", f"unix:{self.folder}/socket", "--freeze"]
        with subprocess.Popen(words, cwd=self.folder, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
            self.assertIn("for a debugger", run.stderr.readline())
            gdb = subprocess.run(["gdb", "-nx", "-batch", "-x", "script.gdb", "kernel.sym"], cwd=self.folder,
                                 text=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=HANGS_S)
            output, errors = run.communicate(timeout=HANGS_S)
        said = gdb.stdout + gdb.stderr + errors
        self.assertEqual(output, "done\n", said)  # once
        places = dict(re.findall(r"^(\w+)=(rip .*)$", gdb.stdout, re.MULTILINE))
        self.assertEqual(len(places), 11, said)
        self.assertNotEqual(places["start"], places["stepped"])
        for again in ("start_again", "start_once_more", "start_at_last"):
            self.assertEqual(places["start"], places[again], said)
        self.assertNotEqual(places["first"], places["second"])
        self.assertEqual(places["first"], places["first_again"], said)
        ticks = [int(re.search(r"jiffies (\d+)", places[when])[1]) for when in ("not_yet_ticked", "ticked")]
        self.assertEqual(ticks[0] + 1, ticks[1], said)
        self.assertEqual(said.count("No more reverse-execution history"), 2, said)  # the end, the beginning


class Dumps(EachKernel):
    def test_of_a_panic_tell_the_kernels_log(self):
        core = Path(folder_for_run.name) / "panic.core"
        boot = Boot(kernels[0], "--sev", "--dump-on-panic", core,
                    command=["sh", "-c", "echo c > /proc/sysrq-trigger"])
        self.assertEqual(boot.status, 255, boot)
        with core.open("rb") as file:
            head = file.read(1 << 20)
        self.assertIn(b"VMCOREINFO\0", head)
        self.assertIn(f"OSRELEASE={release_of(kernels[0])}\n".encode(), head)
        self.assertLess(core.stat().st_blocks * 512, core.stat().st_size / 2)
        if shutil.which("makedumpfile"):
            log = core.with_suffix(".log")
            done = subprocess.run(["makedumpfile", "--dump-dmesg", core, log], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn("Kernel panic - not syncing: sysrq triggered crash", log.read_text())
        try:
            import drgn
        except ImportError:
            return
        told = drgn.Program()
        told.set_core_dump(core)
        self.assertEqual(told["UTS_RELEASE"].string_().decode(), release_of(kernels[0]))

    def test_are_read_by_crash(self):
        """With CBIT_TEST_VMLINUX, a vmlinux of the first kernel with debug information, in full."""
        if not shutil.which("crash"):
            self.skipTest("there is no crash")
        vmlinux = os.environ.get("CBIT_TEST_VMLINUX")
        for platform in (), ("--sev",):
            with self.subTest(platform=platform):
                core = self.path("crash.core")
                boot = Boot(kernels[0], *platform, "--cpus", "2", "--dump-on-panic", core,
                            command=["sh", "-c", "echo c > /proc/sysrq-trigger"])
                self.assertEqual(boot.status, 255, boot)
                done = subprocess.run(["crash", "--osrelease", core], capture_output=True, text=True)
                self.assertEqual(done.stdout.strip(), release_of(kernels[0]), done.stderr)
                if vmlinux is None:
                    continue
                done = subprocess.run(["crash", "--no_scroll", "-s", vmlinux, core], text=True,
                                      input="bt\nlog\nkmem -i\nquit\n", capture_output=True, timeout=HANGS_S)
                said = done.stdout + done.stderr
                self.assertRegex(said, r"#\d \[[0-9a-f]+\] sysrq_handle_crash at", said)
                self.assertIn("Kernel panic - not syncing: sysrq triggered crash", said)
                self.assertRegex(said, r"TOTAL MEM +\d+", said)
                self.assertNotIn("NT_PRSTATUS", said)  # the registers are taken


def main():
    global program, kernels, folder_for_run, folder_for_drivers
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    program = str(Path(sys.argv[1]).resolve())
    folder_for_run = tempfile.TemporaryDirectory(prefix="cbit-guest-")
    # Linux' makefiles take no folder with a blank or a colon in its name.
    fit = [folder for folder in (tempfile.gettempdir(), "/var/tmp", "/tmp") if not re.search("[ :]", folder)]
    folder_for_drivers = tempfile.TemporaryDirectory(prefix="cbit-drivers-", dir=fit[0])
    kernels = [Path(name) for name in sys.argv[2:]] or find_kernels()
    if not kernels:
        print("skipped: there is no kernel that can be read")
        return SKIPPED
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules[__name__])
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
