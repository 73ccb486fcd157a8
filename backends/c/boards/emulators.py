"""Starts emulators: a program, a file of inputs; back come a file of outputs and a report."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bnnc.backends.c.boards.table import Board
from bnnc.diagnostics import BnncError, Exit, error

TIMEOUT = 600.0
INPUTS, OUTPUTS, REPORT = "inputs.bin", "outputs.bin", "report.bin"
_FAULT, _FULL, _FILES = 99, 98, 97


def emulate(board: Board, program: Path, sample_bytes: int, *, counted: bool) -> None:
    """Run a program; it reads inputs of `sample_bytes` and writes outputs, to files beside it.

    Raises BnncError B0613 when it does not end well.
    """
    if board.emulator == "unicorn":
        from bnnc.backends.c.boards.unicorn import run

        code, said = run(board, program)
    elif board.emulator == "simavr":
        from bnnc.backends.c.boards.avr import run_avr

        code, said = run_avr(board, program, sample_bytes)
    else:
        code, said = _start(_command(board, program, counted), program.parent)
    if code:
        raise _failed(board, code, said)


def _command(board: Board, program: Path, counted: bool) -> list[str]:
    if board.source == "linux.c":
        return [board.emulator, str(program)]
    quiet = ["-display", "none", "-monitor", "none", "-serial", "none", "-nic", "none"]
    command = [board.emulator, "-M", board.board, *quiet, "-semihosting-config", "enable=on,target=native"]
    if board.cpu:
        command += ["-cpu", board.cpu]
    if board.emulator.startswith("qemu-system-riscv"):
        command += ["-bios", "none"]
    if counted:
        command += ["-icount", f"shift={board.shift}"]
    return [*command, "-kernel", str(program)]


def _start(command: list[str], folder: Path) -> tuple[int, str]:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=TIMEOUT, errors="replace"
        )
    except subprocess.TimeoutExpired:
        return -1, f"no end after {TIMEOUT:.0f} s"
    return done.returncode, done.stderr + done.stdout


def _failed(board: Board, code: int, said: str) -> BnncError:
    known = {
        _FAULT: "the processor met a fault: a bad address, or an instruction that it does not have",
        _FULL: "the outputs could not be written",
        _FILES: "the inputs could not be read",
        1: "the network returned an error",
    }
    return error(
        "B0613",
        f"the program failed on the emulated board {board.name}",
        notes=(known.get(code, f"{board.emulator} ended with code {code}"), *said.strip().splitlines()[:4]),
        helps=("-X board=host runs the same code on this computer",),
        exit_code=Exit.ENVIRONMENT,
    )


__all__ = ["INPUTS", "OUTPUTS", "REPORT", "emulate"]
