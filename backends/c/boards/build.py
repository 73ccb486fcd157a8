"""Compiles firmware for a board."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from bnnc.backends.c.boards.firmware import Firmware
from bnnc.backends.c.boards.table import Board, Toolchain
from bnnc.diagnostics import Exit, error

SUPPORT = "bnnc.backends.c.boards"
STACK_BYTES = 1024
"""What is kept free for the stack, so that a network which leaves none is refused by the linker."""
_TIMEOUT = 600.0


@dataclass(frozen=True)
class NoRoom:
    """The program does not fit the board; the linker says where."""

    where: str


def build(firmware: Firmware, board: Board, toolchain: Toolchain, folder: Path, *, counted: bool) -> Path | NoRoom:
    """The program as an ELF file in `folder`, where there is room for it. Raises BnncError B0613 for a compiler that
    refuses it."""
    written = firmware.files(counted)
    for name, text in written.items():
        (folder / name).write_text(text)
    _support(folder)
    sources = [name for name in written if name.endswith(".c")] + [board.source]
    defines = list(board.defines)
    if counted:
        sources.append("count.c")
        defines.append(f"-DBOARD_REGIONS={len(firmware.functions)}")
    target = folder / "program.elf"
    command = _command(board, toolchain, folder, sources, defines)
    done = subprocess.run(
        [*command, "-o", target.name], cwd=folder, capture_output=True, text=True, check=False, timeout=_TIMEOUT
    )
    if done.returncode == 0:
        return target
    said = done.stderr.strip().splitlines()
    full = [line for line in said if "overflow" in line or "will not fit" in line or "exceeds" in line]
    if full:
        return NoRoom(full[0].rsplit(": ", 1)[-1])
    raise error(
        "B0613",
        f"{toolchain.name} cannot build the program for {board.name}",
        notes=tuple(said[:6]),
        helps=("-X board=host runs the same code on this computer",),
        exit_code=Exit.ENVIRONMENT,
    )


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
    if board.source == "hosted.c":
        return [*_zig(), "-target", board.target, *common, *sources, "-lm"]
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
    # Loops stay loops: as calls of memset and memcpy they would count as whatever library there is.
    common += ["-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-Wl,-T,board.ld"]
    bare = ["-idirafter", "include", "-nostdlib", "memory.c"]
    if not toolchain.program:
        zig = [*_zig(), "-target", board.target, f"-mcpu={board.zig_cpu}", "-fno-sanitize=undefined", "-ffreestanding"]
        return [*zig, *common, *sources, *bare]
    command = [toolchain.program, *board.flags, *common, "-fno-tree-loop-distribute-patterns"]
    if _has_library(toolchain, board):
        return [*command, "-nostartfiles", *sources, "-lm"]
    # Without a library <stdint.h> is the compiler's own only for freestanding programs.
    return [*command, "-ffreestanding", "-fbuiltin", *sources, *bare, "-lgcc"]


def _zig() -> list[str]:
    return [sys.executable, "-m", "ziglang", "cc"]


def _has_library(toolchain: Toolchain, board: Board) -> bool:
    """Whether the compiler has a C library for the processor."""
    program = shutil.which(toolchain.program) or toolchain.program
    done = subprocess.run(
        [program, *board.flags, "-print-file-name=libc.a"], capture_output=True, text=True, check=False
    )
    return Path(done.stdout.strip()).is_absolute()


__all__ = ["NoRoom", "build"]
