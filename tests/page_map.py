"""The picture of `cbit peek --map`, taken apart: what tests/cli/bin/page-map and tests/vmm/peek_qemu.py
share.
"""

import re
import struct
import zlib

LOOKS = ["ciphertext", "compressed", "text", "data", "fill", "zeros", "absent", "unreadable"]
OUTSIDE, PAPER, INK = 8, 9, 10  # the other colours of the palette


class PageMap:
    def __init__(self, data):
        chunks, texts = {}, []
        data = data[8:]
        while data:
            size, kind = struct.unpack(">I4s", data[:8])
            body = data[8:8 + size]
            assert zlib.crc32(kind + body).to_bytes(4, "big") == data[8 + size:12 + size], "the CRC"
            chunks[kind] = chunks.get(kind, b"") + body
            if kind == b"tEXt":
                texts.append(body.decode("latin-1").split("\0", 1))
            data = data[12 + size:]
        self.width, self.height = struct.unpack(">II", chunks[b"IHDR"][:8])
        raw = zlib.decompress(chunks[b"IDAT"])
        lines = [raw[y * (self.width + 1):(y + 1) * (self.width + 1)] for y in range(self.height)]
        assert all(line[0] == 0 for line in lines), "there are no filters"
        self.lines = [line[1:] for line in lines]
        self.palette = [tuple(chunks[b"PLTE"][i:i + 3]) for i in range(0, len(chunks[b"PLTE"]), 3)]
        self.alpha = chunks[b"tRNS"]
        self.texts = dict(texts)
        self.square = int(re.search(r"a square of (\d+) pixels", self.texts["Title"])[1])
        self.legend = [line for line in self.lines if PAPER in line]
        self.rows = self._rows()

    def _rows(self):
        """Of squares, which have one colour each."""
        lines = self.lines[:self.height - len(self.legend)]
        assert len(lines) % self.square == 0, "rows are whole"
        rows = []
        for y in range(0, len(lines), self.square):
            assert len(set(lines[y:y + self.square])) == 1, "the lines of a row are alike"
            line = lines[y]
            parts = [line[x:x + self.square] for x in range(0, self.width, self.square)]
            assert all(len(set(part)) == 1 for part in parts), "a square has one colour"
            rows.append([part[0] for part in parts])
        return rows
