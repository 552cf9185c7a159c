#!/usr/bin/env python3
"""Looks at a QEMU guest in clear with cbit peek, as source 001 of this field did with dd and xxd.

usage: tests/vmm/peek_qemu.py CBIT

QEMU runs under TCG, stopped before its first instruction; its generic loader has filled the guest's RAM at
known places: text, a page of an encrypted machine's DRAM (cbit peek FILE), a compressed stream. Ends with 77
where there is no QEMU.
"""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import jsonschema

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests/qemu"), str(ROOT / "tests")]
from page_map import LOOKS, OUTSIDE, PageMap
from vm import Qmp

PAGE = 4096
TEXT_AT, SECRET_AT, STREAM_AT = 0x1000000, 0x1800000, 0x2000000
RAM = 64 << 20
COLOURS = {"ciphertext": (0x00, 0x72, 0xb2), "compressed": (0x56, 0xb4, 0xe9), "text": (0xd5, 0x5e, 0x00),
           "absent": (0x60, 0x60, 0x60)}


def check(holds, what):
    if not holds:
        sys.exit(f"peek_qemu.py: not so: {what}")


class Cbit:
    def __init__(self, program):
        self.program = Path(program).resolve()

    def __call__(self, *arguments, status=0):
        command = [self.program, *map(str, arguments)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
        check(done.returncode == status, f"cbit {arguments} ends with {status}: {done}")
        return done

    def json(self, schema, *arguments, status=0):
        found = json.loads(self(*arguments, "--json", status=status).stdout)
        jsonschema.validate(found, json.loads((ROOT / "schema" / schema).read_text()))
        return found


def stopped_guest(folder, contents, memory):
    """A QEMU whose monitor answers when the machine is built and the loader has run. `memory` are the options
    of its RAM."""
    command = ["qemu-system-x86_64", "-S", "-accel", "tcg", "-nodefaults", "-display", "none", *memory]
    for at, data in contents.items():
        file = folder / f"{at:x}.bin"
        file.write_bytes(data)
        command += ["-device", f"loader,file={file},addr={at:#x},force-raw=on"]
    return Qmp(command)


def encrypted_page(cbit):
    """A page of the DRAM of a SEV guest, as the host reads it."""
    seen = cbit.json("peek.schema.json", "peek", "outcome-46-sev-host-view", "--buffer", "container",
                     "--length", "4K")
    host = next(view for view in seen["views"] if view["who"] == "host")
    check(host["sees"] == "ciphertext" and seen["host_pages"][0]["looks"] == "ciphertext",
          "the host of the encrypted machine sees ciphertext, by comparison and by its bytes")
    return bytes.fromhex(host["bytes"])


def looks_at(report, at, pages):
    """The verdicts on `pages` pages of the first range from offset `at` on."""
    start = int(report["ranges"][0]["start"], 16) + at
    return {run["looks"] for run in report["ranges"][0]["runs"]
            if int(run["start"], 16) < start + pages * PAGE
            and int(run["start"], 16) + run["pages"] * PAGE > start}


def check_map(cbit, pid, folder):
    cbit("peek", "--pid", pid, "--range", "largest", "--map", folder / "guest.png")
    page_map = PageMap((folder / "guest.png").read_bytes())
    # The range may begin within a row.
    flat = [square for row in page_map.rows for square in row]
    first = next(i for i, square in enumerate(flat) if square != OUTSIDE)
    for at, looks in ((TEXT_AT, "text"), (SECRET_AT, "ciphertext"), (STREAM_AT + PAGE, "compressed")):
        found = flat[first + at // PAGE]
        check(found == LOOKS.index(looks), f"the square of {at:#x} has the colour of {looks}")
        check(page_map.palette[found] == COLOURS[looks], f"{looks} is {COLOURS[looks]}")


def check_guest(cbit, pid, expected, folder):
    listed = cbit.json("peek-ranges.schema.json", "peek", "--pid", pid, "--ranges")
    largest = next(mapping for mapping in listed["ranges"] if mapping["largest"])
    report = cbit.json("peek-process.schema.json", "peek", "--pid", pid, "--range", "largest")
    check(report["complete"] and len(report["ranges"]) == 1, "the guest's RAM is one range, read to its end")
    check(report["ranges"][0]["start"] == largest["start"], "it is the largest memory")
    check(sum(report["pages"].values()) == RAM // PAGE, f"it has {RAM // PAGE} pages")
    for at, (pages, looks) in expected.items():
        found = looks_at(report, at, pages)
        check(found == {looks}, f"{pages} pages at {at:#x} look like {looks}, not {found}")
    check(report["pages"]["ciphertext"] <= 3, f"little else looks like ciphertext: {report['pages']}")
    after = cbit.json("peek-ranges.schema.json", "peek", "--pid", pid, "--ranges")
    present = [mapping["present_pages"] for mapping in after["ranges"] if mapping["largest"]]
    check(present == [largest["present_pages"]], "the look has not allocated memory")
    start = int(largest["start"], 16)
    dump = cbit("peek", "--pid", pid, "--range", f"{start + TEXT_AT:#x}+32", "--dump").stdout.decode()
    check("root:x:0:0:root:" in dump and len(dump.splitlines()) == 2, f"the guest's text in clear: {dump}")
    check_map(cbit, pid, folder)


def check_loss(cbit, qemu):
    """QEMU is killed while it is read: the report says so, or the reader was faster."""
    reader = subprocess.Popen([cbit.program, "peek", "--pid", str(qemu.process.pid), "--fault-in", "--json"],
                              bufsize=0, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    first = reader.stdout.read(1)
    qemu.process.send_signal(signal.SIGKILL)
    out, err = reader.communicate()
    report = json.loads(first + out)
    jsonschema.validate(report, json.loads((ROOT / "schema/peek-process.schema.json").read_text()))
    check(reader.returncode == (0 if report["complete"] else 65), f"the exit status {reader.returncode}")
    check(report["complete"] or b"went away while it was read" in err, f"the message: {err}")
    print("killed while it was read:", "too late" if report["complete"] else "noticed")


def main():
    if shutil.which("qemu-system-x86_64") is None:
        print("skipped: there is no qemu-system-x86_64; apt-get install qemu-system-x86")
        return 77
    cbit = Cbit(sys.argv[1])
    text = b"root:x:0:0:root:/root:/bin/bash\n" * 128 * 16
    stream = zlib.compress(json.dumps([{"index": i, "square": i * i} for i in range(60000)]).encode(), 1)
    stream = stream[:len(stream) // PAGE * PAGE]
    contents = {TEXT_AT: text, SECRET_AT: encrypted_page(cbit), STREAM_AT: stream}
    expected = {TEXT_AT: (16, "text"), SECRET_AT: (1, "ciphertext"),
                STREAM_AT: (len(stream) // PAGE, "compressed"), 0x3000000: (256, "absent")}
    machines = {
        "private anonymous RAM": ["-m", "64M"],
        "RAM in a memfd": ["-m", "64M", "-machine", "memory-backend=ram",
                           "-object", "memory-backend-memfd,id=ram,size=64M,share=on"],
    }
    for name, memory in machines.items():
        with tempfile.TemporaryDirectory(prefix="cbit-vmm-") as folder, \
                stopped_guest(Path(folder), contents, memory) as qemu:
            check_guest(cbit, qemu.process.pid, expected, Path(folder))
            check(qemu.ask("query-status")["status"] == "prelaunch", "the guest is as it was")
            print(f"{name}: text in clear, ciphertext and compressed pages told apart")
            check_loss(cbit, qemu)
    return 0


if __name__ == "__main__":
    sys.exit(main())
