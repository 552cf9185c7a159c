"""Programs of this host in a guest that has neither them nor their libraries."""

import re
import shutil
import subprocess

# Behind it the name of the program, for a guest that has the folder at /mnt/share.
RUN = "/mnt/share/lib/ld-linux-x86-64.so.2 --library-path /mnt/share/lib /mnt/share/"


def put(program, folder):
    """The program into the folder, and into its lib/ the libraries that it needs, with their loader."""
    shutil.copy(program, folder)
    (folder / "lib").mkdir()
    told = subprocess.run(["ldd", program], text=True, capture_output=True, check=True).stdout
    for library in re.findall(r"(/\S+) \(0x", told):
        shutil.copy(library, folder / "lib")
