"""What a test guest is made of: Debian's cloud kernel and a small initramfs.

The kernel package is downloaded and unpacked below the build folder; nothing is installed on this machine.
"""

import fcntl
import gzip
import os
import re
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Depends on the newest image of the cloud flavour, whatever its version is.
KERNEL_PACKAGE = "linux-image-cloud-amd64"
# Of the cloud flavour, NVMe and ext4 are built in; virtio is not.
MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtio-rng")
DOWNLOAD_TIMEOUT_S = 120


class Missing(Exception):
    """A component that a test needs and this machine cannot have: the test is skipped."""


@dataclass(frozen=True)
class Kernel:
    image: Path
    modules: Path  # lib/modules/VERSION


def tool(name, package):
    """The path of a program; Missing names the package that has it."""
    path = shutil.which(name)
    if path is None:
        raise Missing(f"there is no {name}: apt-get install {package}")
    return Path(path)


@contextmanager
def locked(folder):
    """One test at a time fills the cache, while the others wait."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def apt(command, folder):
    try:
        return subprocess.run(command, cwd=folder, env=os.environ | {"LC_ALL": "C.UTF-8"}, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=DOWNLOAD_TIMEOUT_S)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise Missing(f"the kernel package cannot be had: {error}") from error


def concrete_package(folder):
    """linux-image-6.1.0-NN-cloud-amd64: what the meta package depends on today."""
    printed = apt(["apt-cache", "depends", "--important", KERNEL_PACKAGE], folder)
    found = re.search(r"^ *Depends: (linux-image-\S+-cloud-amd64)$", printed.stdout, re.MULTILINE)
    if not found:
        raise Missing(f"apt knows no {KERNEL_PACKAGE}: {printed.stderr.strip()}")
    return found[1]


def download_kernel(folder):
    """Fetches the newest kernel package into an empty folder and unpacks it there."""
    done = apt(["apt-get", "-q", "download", concrete_package(folder)], folder)
    if done.returncode != 0 and os.geteuid() == 0:
        # Lists that are older than the archive name a version that is gone from it.
        apt(["apt-get", "-qq", "update"], folder)
        done = apt(["apt-get", "-q", "download", concrete_package(folder)], folder)
    packages = list(folder.glob("*.deb"))
    if done.returncode != 0 or len(packages) != 1:
        raise Missing(f"the kernel package cannot be had: {done.stderr.strip()}")
    subprocess.run(["dpkg-deb", "-x", packages[0], folder / "root"], check=True)
    packages[0].unlink()


def kernel(cache):
    """The kernel in the cache, which is filled first if it is empty."""
    with locked(cache):
        root = cache / "kernel"
        if not root.exists():
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                download_kernel(Path(folder))
                (Path(folder) / "root").rename(root)
    image, = root.glob("boot/vmlinuz-*")
    modules, = root.glob("lib/modules/*")
    return Kernel(image, modules)


def with_dependencies(kernel, names):
    """The files of modules, each after those that it needs, as its .modinfo section lists them."""
    files = {path.stem.replace("-", "_"): path for path in kernel.modules.rglob("*.ko")}
    order = []

    def add(name):
        path = files[name.replace("-", "_")]
        if path in order:
            return
        needed = re.search(rb"\0depends=([^\0]*)\0", path.read_bytes())
        for other in filter(None, needed[1].decode().split(",")):
            add(other)
        order.append(path)

    for name in names:
        add(name)
    return order


def libraries(program):
    """The shared libraries of a program and its loader, as ldd finds them."""
    printed = subprocess.run(["ldd", program], check=True, text=True, stdout=subprocess.PIPE).stdout
    return [Path(path) for path in re.findall(r"(/\S+) \(0x", printed)]


def build(output, kernel, tests, programs=(), modules=MODULES):
    """Writes an initramfs that runs the shell scripts `tests` in order, with `programs` in /bin."""
    busybox = tool("busybox", "busybox-static")
    cpio = tool("cpio", "cpio")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("bin", "modules", "tests"):
            (root / name).mkdir()
        shutil.copy(HERE / "guest/init", root / "init")
        (root / "init").chmod(0o755)
        shutil.copy(busybox, root / "bin/busybox")
        files = with_dependencies(kernel, modules) if modules else []
        for path in files:
            shutil.copy(path, root / "modules")
        (root / "modules/order").write_text("".join(f"{path.name}\n" for path in files), encoding="utf-8")
        for number, test in enumerate(tests):
            shutil.copy(test, root / f"tests/{number}-{test.name}")
        for program in programs:
            shutil.copy(program, root / "bin")
            for library in libraries(program):
                place = root / library.relative_to("/")
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(library, place)
        names = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
        packed = subprocess.run([cpio, "--create", "--format=newc", "--quiet", "--reproducible"], cwd=root,
                                check=True, input="\n".join(names).encode(), stdout=subprocess.PIPE).stdout
    output.write_bytes(gzip.compress(packed, compresslevel=1, mtime=0))
