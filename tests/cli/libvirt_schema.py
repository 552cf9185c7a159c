#!/usr/bin/env python3
"""Holds the domains that cbit launch prints against libvirt's own schema.

usage: tests/cli/libvirt_schema.py PROGRAM

Exit status 77: there is no schema (package libvirt0) or no xmllint (libxml2-utils). Debian 12's schema knows
SEV, and neither SEV-SNP nor TDX, which libvirt learned later; their domains are checked by test_host.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")
DEVICES = ["--kernel", "/k", "--initrd", "/i", "--disk", "/a,ro", "--disk", "/b,format=qcow2",
           "--net", "user", "--net", "tap,ifname=tap0,vhost=on", "--net", "tap", "--vsock", "5",
           "--console", "/log", "--name", "guest", "--cpu", "host,pmu=off"]
FORCED = ["--force", "--cbitpos", "51", "--reduced-phys-bits", "1"]


def domain(program, firmware, *options):
    words = [program, "launch", "--qemu-version", "7.2", "--root", ROOT / "tests/doctor/laptop", "--firmware",
             firmware, "--format", "libvirt", *options]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


def is_valid(xml):
    return subprocess.run(["xmllint", "--noout", "--relaxng", SCHEMA, "-"], input=xml,
                          stderr=subprocess.DEVNULL, check=False).returncode == 0


def main():
    if not SCHEMA.exists() or not shutil.which("xmllint"):
        print(f"there is no {SCHEMA} or no xmllint: apt-get install libvirt0 libxml2-utils")
        return 77
    program = Path(sys.argv[1]).resolve()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        firmware = Path(folder) / "ovmf.fd"
        subprocess.run([ROOT / "tests/cli/bin/ovmf-image", firmware, "sev-es", "hashes"], check=True)
        for protection in ("none", "sev", "sev-es"):
            for more in ([], DEVICES, [*DEVICES, "--explain", "--", "-device", "pcie-root-port"]):
                xml = domain(program, firmware, "--protection", protection, *FORCED, *more)
                if not is_valid(xml):
                    wrong += 1
                    print(f"not valid with --protection {protection} {' '.join(more)}:\n{xml.decode()}")
                if is_valid(xml.replace(b"<memballoon", b"<balloon")):
                    wrong += 1
                    print("the schema takes an element that it does not know: the check checks nothing")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
