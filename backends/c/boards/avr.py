"""Runs programs on an AVR emulated by simavr: inputs are put into flash, as many as there is room for at a time."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bnnc.backends.c.boards.elf import Elf
from bnnc.backends.c.boards.table import Board

TIMEOUT = 600.0
_ERASED = b"\xff"


def run_avr(board: Board, program: Path, sample_bytes: int) -> tuple[int, str]:
    """Run a program on all inputs in `inputs.bin`: (exit code, what went wrong).

    The reports of several runs are added up: their numbers are little-endian words of 32 bits, the first of which, the
    deepest stack, is the largest of all runs.
    """
    folder = program.parent
    image = _image(Elf(program.read_bytes()))
    flash = board.flash[1]
    inputs = (folder / "inputs.bin").read_bytes()
    room = (flash - 8 - len(image)) // max(1, sample_bytes) * sample_bytes
    outputs, report = bytearray(), b""
    for start in range(0, max(1, len(inputs)), max(1, room)):
        chunk = inputs[start : start + room]
        about = struct.pack("<II", len(image), len(chunk))
        content = (image + chunk).ljust(flash - 8, _ERASED) + about
        (folder / "program.hex").write_text("\n".join(_hex_lines(content)) + "\n")
        try:
            done = subprocess.run(
                ["simavr", "-m", board.board, "-f", "16000000", "program.hex"],
                cwd=folder,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            return -1, f"no end after {TIMEOUT:.0f} s"
        lines = re.findall(r"@([ORX])([0-9a-f]+)", done.stdout + done.stderr)
        said = {kind: bytes.fromhex("".join(text for k, text in lines if k == kind)) for kind in "ORX"}
        if said["X"] != b"\0":
            return (said["X"][0] if said["X"] else 99), done.stderr[-400:]
        outputs += said["O"]
        report = _together(report, said["R"])
    (folder / "outputs.bin").write_bytes(bytes(outputs))
    (folder / "report.bin").write_bytes(report)
    return 0, ""


def _image(elf: Elf) -> bytes:
    """What flash holds from address 0 on."""
    parts = [s for s in elf.segments() if s.address < 0x80_0000]
    image = bytearray(_ERASED * max(s.address + s.size for s in parts))
    for segment in parts:
        image[segment.address : segment.address + segment.size] = elf.data[
            segment.offset : segment.offset + segment.size
        ]
    return bytes(image)


def _together(before: bytes, after: bytes) -> bytes:
    if not before:
        return after
    one, two = (struct.unpack(f"<{len(part) // 4}I", part) for part in (before, after))
    return struct.pack(f"<{len(one)}I", max(one[0], two[0]), *(a + b for a, b in zip(one[1:], two[1:], strict=True)))


def _hex_lines(content: bytes) -> Iterator[str]:
    """The lines of an Intel HEX file."""

    def line(kind: int, address: int, data: bytes) -> str:
        body = bytes([len(data), address >> 8 & 255, address & 255, kind]) + data
        return f":{body.hex().upper()}{-sum(body) & 255:02X}"

    for start in range(0, len(content), 32):
        if start and start % 0x10000 == 0:
            yield line(4, 0, struct.pack(">H", start >> 16))
        yield line(0, start & 0xFFFF, content[start : start + 32])
    yield line(1, 0, b"")


__all__ = ["run_avr"]
