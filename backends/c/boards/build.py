"""Compiles firmware for a board."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from bnnc.backends.c.boards.elf import Elf
from bnnc.backends.c.boards.firmware import Firmware
from bnnc.backends.c.boards.table import Board, Toolchain
from bnnc.diagnostics import Exit, error

SUPPORT = "bnnc.backends.c.boards"
STACK_BYTES = 1024
"""What is kept free for the stack, so that a network which leaves none is refused by the linker."""
AVR_STACK_BYTES = 128
_TIMEOUT = 600.0


@dataclass(frozen=True)
class NoRoom:
    """The program does not fit the board; the linker says where."""

    where: str


def build(
    firmware: Firmware, board: Board, toolchain: Toolchain, folder: Path, *, counted: bool, rows: bool = False
) -> Path | NoRoom:
    """The program as an ELF file in `folder`, where there is room for it. Raises BnncError B0613 for a compiler that
    refuses it."""
    written = firmware.files(counted, rows)
    for name, text in written.items():
        (folder / name).write_text(text)
    _support(folder)
    sources = [name for name in written if name.endswith(".c")] + [board.source]
    defines = list(board.defines)
    if counted:
        sources.append("count.c")
        defines += ["-DBOARD_COUNTED", f"-DBOARD_REGIONS={len(firmware.functions)}"]
    target = folder / "program.elf"
    command = _command(board, toolchain, folder, sources, defines)
    done = subprocess.run(
        [*command, "-o", target.name], cwd=folder, capture_output=True, text=True, check=False, timeout=_TIMEOUT
    )
    if done.returncode == 0:
        return _fitting(target, board, firmware)
    said = done.stderr.strip().splitlines()
    full = [line for line in said if "overflow" in line or "will not fit" in line or "not within region" in line]
    if full:
        return NoRoom(full[0].rsplit(": ", 1)[-1])
    raise error(
        "B0613",
        f"{toolchain.name} cannot build the program for {board.name}",
        notes=tuple(said[:6]),
        helps=("-X board=host runs the same code on this computer",),
        exit_code=Exit.ENVIRONMENT,
    )


def _fitting(program: Path, board: Board, firmware: Firmware) -> Path | NoRoom:
    """What no linker checks: on AVR the program, one input and the stack must fit too."""
    if board.emulator != "simavr":
        return program
    flash, ram = Elf(program.read_bytes()).sizes()
    if flash + firmware.input_bytes + 8 > board.flash[1]:
        return NoRoom(f"{flash} bytes of flash and an input of {firmware.input_bytes}, of {board.flash[1]}")
    if ram + AVR_STACK_BYTES > board.ram[1]:
        return NoRoom(f"{ram} bytes of RAM and {AVR_STACK_BYTES} for the stack, of {board.ram[1]}")
    return program


def _support(folder: Path) -> None:
    """The files of ours that every program shares."""
    source = files(SUPPORT) / "support"
    for place, into in ((source, folder), (source / "include", folder / "include")):
        into.mkdir(exist_ok=True)
        for item in place.iterdir():
            if item.is_file():
                (into / item.name).write_bytes(item.read_bytes())


def _command(board: Board, toolchain: Toolchain, folder: Path, sources: list[str], defines: list[str]) -> list[str]:
    common = ["-std=c99", "-O2", "-I", ".", *defines]
    bare = ["-idirafter", "include", "-nostdlib", "memory.c", "floats.c"]
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", board.target, "-ffreestanding"]
    zig += ["-fno-sanitize=undefined", "-fno-math-errno"]
    if board.source == "linux.c":
        return [*zig, "-fno-pic", *common, *sources, *bare, "-Wl,-e,board_reset"]
    common += ["-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"]
    if board.emulator == "simavr":
        return [toolchain.program, *board.flags, *common, *sources]
    _write_script(board, folder)
    common.append("-Wl,-T,board.ld")
    if not toolchain.program:
        return [*zig, f"-mcpu={board.zig_cpu}", *common, *sources, *bare]
    # Loops stay loops: as calls of memset and memcpy they would count as whatever library there is.
    command = [toolchain.program, *board.flags, *common, "-fno-tree-loop-distribute-patterns"]
    if _has_library(toolchain, board):
        return [*command, "-nostartfiles", *sources, "-lm"]
    # Without a library <stdint.h> is the compiler's own only for freestanding programs.
    return [*command, "-ffreestanding", "-fbuiltin", *sources, *bare, "-lgcc"]


def _write_script(board: Board, folder: Path) -> None:
    """The linker's script, with the memory of the board."""
    script = (files(SUPPORT) / "support" / "board.ld").read_text()
    for word, value in (
        ("FLASH_BYTES", board.flash[1]),
        ("FLASH", board.flash[0]),
        ("RAM_BYTES", board.ram[1]),
        ("RAM", board.ram[0]),
        ("STACK_BYTES", STACK_BYTES),
    ):
        script = script.replace(f"@{word}@", hex(value))
    (folder / "board.ld").write_text(script)


def _has_library(toolchain: Toolchain, board: Board) -> bool:
    """Whether the compiler has a C library for the processor."""
    program = shutil.which(toolchain.program) or toolchain.program
    done = subprocess.run(
        [program, *board.flags, "-print-file-name=libc.a"], capture_output=True, text=True, check=False
    )
    return Path(done.stdout.strip()).is_absolute()


__all__ = ["NoRoom", "build"]
