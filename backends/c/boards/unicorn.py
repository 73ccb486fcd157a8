"""A Cortex-M emulated by the Python package unicorn, which pip installs: no tool of the system is needed."""

from __future__ import annotations

import importlib
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from bnnc.backends.c.boards.elf import Elf
from bnnc.backends.c.boards.table import Board

_MEMORY = ((0x0000_0000, 4 << 20), (0x2000_0000, 4 << 20), (0xE000_0000, 1 << 20))
_BREAKPOINT = 7
_OPEN, _CLOSE, _WRITE, _READ, _EXIT, _ELAPSED = 0x01, 0x02, 0x05, 0x06, 0x20, 0x30


class _Host:
    """Answers semihosting calls: the files that a program opens lie in one folder."""

    def __init__(self, emulator: Any, folder: Path, executed: Callable[[], int]) -> None:
        self._emulator, self._folder, self._executed = emulator, folder, executed
        self._files: list[BinaryIO] = []
        self.code: int | None = None

    def answer(self, operation: int, place: int) -> int:
        """What r0 holds then."""
        first, second, third = struct.unpack("<III", self._emulator.mem_read(place, 12))
        if operation == _OPEN:
            name = bytes(self._emulator.mem_read(first, third)).decode()
            self._files.append((self._folder / Path(name).name).open("rb" if second == 1 else "wb"))
            return len(self._files)
        if operation == _CLOSE:
            if 0 < first <= len(self._files):
                self._files[first - 1].close()
            return 0
        if operation == _WRITE:
            self._files[first - 1].write(bytes(self._emulator.mem_read(second, third)))
            return 0
        if operation == _READ:
            data = self._files[first - 1].read(third)
            if data:
                self._emulator.mem_write(second, data)
            return int(third) - len(data)
        if operation == _ELAPSED:
            self._emulator.mem_write(place, struct.pack("<Q", self._executed()))
            return 0
        if operation == _EXIT:
            self.code = second
            self._emulator.emu_stop()
            return 0
        return -1


def run(board: Board, program: Path) -> tuple[int, str]:
    """Run a program to its end: (exit code, what went wrong)."""
    unicorn: Any = importlib.import_module("unicorn")
    arm: Any = importlib.import_module("unicorn.arm_const")
    elf = Elf(program.read_bytes())
    emulator = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
    emulator.ctl_set_cpu_model(getattr(arm, f"UC_CPU_ARM_CORTEX_{board.board}"))
    for address, size in _MEMORY:
        emulator.mem_map(address, size)
    for segment in elf.segments():
        emulator.mem_write(segment.address, elf.data[segment.offset : segment.offset + segment.size])
    executed = 0
    lengths: dict[tuple[int, int], int] = {}

    def block(_: Any, address: int, size: int, __: Any) -> None:
        nonlocal executed
        key = (address, size)
        count = lengths.get(key)
        if count is None:
            count = lengths[key] = _instructions(bytes(emulator.mem_read(address, size)))
        executed += count

    host = _Host(emulator, program.parent, lambda: executed)

    def interrupt(_: Any, number: int, __: Any) -> None:
        if number != _BREAKPOINT:
            host.code = 99
            emulator.emu_stop()
            return
        place = emulator.reg_read(arm.UC_ARM_REG_PC)
        answer = host.answer(emulator.reg_read(arm.UC_ARM_REG_R0), emulator.reg_read(arm.UC_ARM_REG_R1))
        emulator.reg_write(arm.UC_ARM_REG_R0, answer & 0xFFFFFFFF)
        if host.code is None:
            emulator.reg_write(arm.UC_ARM_REG_PC, (place + 2) | 1)

    emulator.hook_add(unicorn.UC_HOOK_BLOCK, block)
    emulator.hook_add(unicorn.UC_HOOK_INTR, interrupt)
    stack, start = struct.unpack("<II", emulator.mem_read(board.flash[0], 8))
    emulator.reg_write(arm.UC_ARM_REG_SP, stack)
    try:
        emulator.emu_start(start | 1, 0xFFFFFFFE)
    except unicorn.UcError as reason:
        place = emulator.reg_read(arm.UC_ARM_REG_PC)
        return 99, f"{reason} at {place:#x}"
    return (99, "it stopped without an end") if host.code is None else (host.code, "")


def _instructions(code: bytes) -> int:
    """How many Thumb instructions there are: those that start with 0b111, but not 0b11100, are of 32 bits."""
    count = place = 0
    while place < len(code):
        high = code[place + 1] >> 3
        place += 4 if high in (0b11101, 0b11110, 0b11111) else 2
        count += 1
    return count


__all__ = ["run"]
