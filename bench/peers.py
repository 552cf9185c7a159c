"""What comparisons of a real kernel's speed share: the kernel, an initramfs for it, and QEMU."""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

# What TCG is fastest with: it moves the bytes of `rep movsb` one by one.
QEMU_CPUS = ("qemu64", "max,-erms,-fsrm")


def arguments(doc, rounds):
    """The program, rounds and peer of a comparison's command line; `doc` is its text, with a usage line."""
    usage = next(line for line in doc.splitlines() if line.startswith("usage: "))
    parser = argparse.ArgumentParser(usage=usage.removeprefix("usage: ").partition("   ")[0])
    parser.add_argument("program", type=lambda name: Path(name).resolve())
    parser.add_argument("rounds", type=int, nargs="?", default=rounds)
    parser.add_argument("--qemu", default="qemu-system-x86_64")
    return parser.parse_args()


def initramfs(folder, init, files=()):
    """A cpio archive of busybox, an init, and files (modules, programs) in its root."""
    busybox = shutil.which("busybox") or sys.exit("there is no busybox: apt-get install busybox-static")
    root = folder / "root"
    (root / "bin").mkdir(parents=True)
    (root / "dev").mkdir()
    shutil.copy(busybox, root / "bin/busybox")
    (root / "bin/sh").symlink_to("busybox")
    (root / "init").write_text(init, encoding="utf-8")
    (root / "init").chmod(0o755)
    for file in files:
        shutil.copy(file, root)
    names = "\n".join(str(path.relative_to(root)) for path in root.rglob("*"))
    archive = folder / "initrd"
    with open(archive, "wb") as file:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=root, input=names.encode(), stdout=file,
                       check=True)
    return archive


def fetched_kernel(program):
    """Debian's cloud kernel, which cbit has in its cache once it has fetched it; others may be there, too."""
    subprocess.run([program, "run", "--quiet", "--", "true"], check=True)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return next((cache / "cbit/kernels/linux-image-cloud-amd64").rglob("vmlinuz*"))


def qemu(cpu, kernel, initrd, command_line, *options, program="qemu-system-x86_64"):
    """QEMU's TCG with a processor like that of cbit run, its console on standard output."""
    return [program, "-accel", "tcg", "-cpu", cpu, "-m", "512", "-nodefaults", "-no-reboot",
            "-display", "none", "-serial", "stdio",
            "-kernel", kernel, "-initrd", initrd, "-append", command_line, *options]
