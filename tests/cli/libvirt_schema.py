#!/usr/bin/env python3
"""Holds the domains that cbit launch prints against libvirt's own schema.

usage: tests/cli/libvirt_schema.py PROGRAM [SCHEMA]

SCHEMA is the installed one unless given. Debian 12's knows SEV, and neither SEV-SNP nor TDX, which libvirt
learned later: of those as many are checked as the schema names, and all of them by test_launch.
Exit status 77: there is no schema (package libvirt0) or no xmllint (libxml2-utils).
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
INSTALLED = Path("/usr/share/libvirt/schemas/domain.rng")
DEVICES = ["--kernel", "/k", "--initrd", "/i", "--disk", "/a,ro", "--disk", "/b,format=qcow2",
           "--net", "user", "--net", "tap,ifname=tap0,vhost=on", "--net", "tap", "--vsock", "5",
           "--console", "/log", "--name", "guest", "--cpu", "host,pmu=off"]
FORCED = ["--force", "--cbitpos", "51", "--reduced-phys-bits", "1"]
ATTESTED = {
    "sev-snp": ["--id-block", "A" * 128, "--id-auth", "A" * 5460 + "AA==", "--host-data", "A" * 43 + "=",
                "--vcek-disabled"],
    "tdx": ["--mrconfigid", "A" * 64, "--mrowner", "A" * 64, "--mrownerconfig", "A" * 64, "--quote-socket",
            "unix:/var/run/tdx-qgs/qgs.socket"]}
PASSED_THROUGH = ["--vfio", "0000:41:00.0"]


def domain(program, firmware, *options):
    words = [program, "launch", "--qemu-version", "10.2", "--root", ROOT / "tests/doctor/laptop",
             "--firmware", firmware, "--format", "libvirt", *options]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


def is_valid(schema, xml):
    return subprocess.run(["xmllint", "--noout", "--relaxng", schema, "-"], input=xml,
                          stderr=subprocess.DEVNULL, check=False).returncode == 0


def plans(schema):
    """Protections and further options whose domains this schema has words for."""
    common = (schema.parent / "domaincommon.rng").read_text()
    devices = DEVICES + (PASSED_THROUGH if '"iommufd"' in common else [])
    for protection in ("none", "sev", "sev-es", "sev-snp", "tdx"):
        if protection in ATTESTED and f"<value>{protection}</value>" not in common:
            continue
        for more in ([], devices, [*devices, "--explain", "--", "-device", "pcie-root-port"]):
            yield protection, more
        if protection in ATTESTED:
            yield protection, ATTESTED[protection]


def main():
    schema = Path(sys.argv[2]) if len(sys.argv) > 2 else INSTALLED
    if not schema.exists() or not shutil.which("xmllint"):
        print(f"there is no {schema} or no xmllint: apt-get install libvirt0 libxml2-utils")
        return 77
    program = Path(sys.argv[1]).resolve()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        firmware = Path(folder) / "ovmf.fd"
        subprocess.run([ROOT / "tests/cli/bin/ovmf-image", firmware, "sev-es", "sev-snp", "tdx", "hashes"],
                       check=True)
        for protection, more in plans(schema):
            xml = domain(program, firmware, "--protection", protection, *FORCED, *more)
            if not is_valid(schema, xml):
                wrong += 1
                print(f"not valid with --protection {protection} {' '.join(more)}:\n{xml.decode()}")
            if is_valid(schema, xml.replace(b"<memballoon", b"<balloon")):
                wrong += 1
                print("the schema takes an element that it does not know: the check checks nothing")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
