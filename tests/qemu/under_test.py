"""The cbit that the tests run, and what they share."""

import json
import os
import subprocess
from pathlib import Path

import initramfs
import vm

GUEST = Path(__file__).resolve().parent / "guest"
QEMU = "qemu-system-x86_64"
FIRMWARE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")  # what the plan for an encrypted guest finds on Debian
# What every test guest is like. SeaBIOS starts it faster than OVMF does.
SMALL = ("--memory", "512M", "--firmware", "default")
# QEMU's own processor is the same on every machine.
EMULATED = ("--no-encryption", "--accel", "tcg")
# An emulated timer is late on a loaded machine; the kernel would take it for a broken one, and panic.
ALWAYS = ("console=ttyS0", "loglevel=4", "no_timer_check")

program = cache = None  # set by run.py


def require_components():
    """initramfs.Missing: what this machine lacks, so that no test can run."""
    for name, package in ((QEMU, "qemu-system-x86"), ("busybox", "busybox-static"), ("cpio", "cpio")):
        initramfs.tool(name, package)
    if not FIRMWARE.exists():
        raise initramfs.Missing(f"there is no {FIRMWARE}: apt-get install ovmf")
    initramfs.kernel(cache)


def launch(*options):
    """`cbit launch` with the options, to its end."""
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    return subprocess.run([program, "launch", *options], env=environment, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=vm.HANGS_S)


def doctor(*options):
    """What `cbit doctor --json` tells, whatever it thinks of it."""
    done = subprocess.run([program, "doctor", *options, "--json"], text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=vm.HANGS_S)
    if done.returncode not in (0, 1):
        raise AssertionError(f"{' '.join(map(str, done.args))}: exit status {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout)


def nvme(image):
    """QEMU's options for a disk whose driver is built into Debian's cloud kernels."""
    return ["-drive", f"if=none,id=nvme0,format=raw,readonly=on,file={image}",
            "-device", "nvme,drive=nvme0,serial=nvme0"]


def plan(*options):
    """The plan that `cbit launch --json` prints."""
    done = launch(*options, "--json")
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, done.args))}: exit status {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout)


def kernel_options(folder, tests, *append, programs=()):
    """The options of cbit launch that boot the guest with some of its tests."""
    kernel = initramfs.kernel(cache)
    initrd = folder / "initrd"
    initramfs.build(initrd, kernel, [GUEST / f"{name}.sh" for name in tests], programs)
    return ["--kernel", str(kernel.image), "--initrd", str(initrd),
            "--append", " ".join([*ALWAYS, *append])]


def boot(folder, *options, more=()):
    """Runs a guest by `cbit launch --run`; `more` are QEMU's own options."""
    report = folder / "report"
    return vm.run([str(program), "launch", *SMALL, *EMULATED, *options, "--run", "--", *vm.report_to(report),
                   *more], report=report)


def boot_words(folder, words):
    """Runs a guest by QEMU's words, as they are in a plan."""
    report = folder / "report"
    return vm.run([*words, *vm.report_to(report)], report=report)
