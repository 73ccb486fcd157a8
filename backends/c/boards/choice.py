"""Which board a machine has here: an emulator and a compiler for it, and what to install where there is none."""

from __future__ import annotations

import difflib
import importlib.util
import shutil
from dataclasses import dataclass

from bnnc.backends.c.boards.table import BOARDS, ZIG, Board, Toolchain, boards_of
from bnnc.diagnostics import BnncError, Exit, error

HOST = "host"
AUTO = "auto"


@dataclass(frozen=True)
class Choice:
    """Boards that can be used here, each with its compiler, best first; and a line for each thing to install."""

    ways: tuple[tuple[Board, Toolchain], ...]
    installs: tuple[str, ...]


def has(toolchain: Toolchain) -> bool:
    """Whether a compiler is here."""
    return bool(shutil.which(toolchain.program) if toolchain.program else importlib.util.find_spec("ziglang"))


def has_emulator(board: Board) -> bool:
    """Whether a board's emulator is here."""
    return bool(importlib.util.find_spec("unicorn") if board.emulator == "unicorn" else shutil.which(board.emulator))


def compiler_for(board: Board) -> Toolchain | None:
    """The first compiler for a board that is here."""
    return next((toolchain for toolchain in board.toolchains if has(toolchain)), None)


def find(machine: str, wanted: str = AUTO) -> Choice:
    """The boards of a machine that can be emulated here; `wanted` is `auto`, `host` (none) or the name of a board.

    Raises BnncError B0614 for a board that there is not or that is another machine's.
    """
    if wanted == HOST:
        return Choice((), ())
    boards = [board for board in boards_of(machine) if not board.named_only]
    if wanted != AUTO:
        boards = [board for board in boards_of(machine) if board.name == wanted]
        if not boards:
            raise _no_board(machine, wanted)
    ways = []
    for board in boards:
        compiler = compiler_for(board)
        if compiler is not None and has_emulator(board):
            ways.append((board, compiler))
    return Choice(tuple(ways), () if ways else _installs(list(boards)))


def needed(machine: str, wanted: str = AUTO) -> Choice:
    """The same, where a board is a must. Raises BnncError B0614 where there is none."""
    choice = find(machine, wanted)
    if not choice.ways:
        raise error(
            "B0614",
            f"no emulated board for `{machine}` is here",
            helps=choice.installs or ("bnnc targets c",),
            exit_code=Exit.ENVIRONMENT,
        )
    return choice


def _no_board(machine: str, wanted: str) -> BnncError:
    names = [AUTO, HOST, *(board.name for board in boards_of(machine))]
    other = next((board.machine for board in BOARDS if board.name == wanted), None)
    near = difflib.get_close_matches(wanted, names, 1)
    helps = (f"--machine {other}",) if other else (f"did you mean `{near[0]}`?",) if near else ()
    notes = (f"it has {', '.join(names)}",)
    return error("B0614", f"`{machine}` has no board `{wanted}`", notes=notes, helps=helps, exit_code=Exit.USAGE)


def _installs(boards: list[Board]) -> tuple[str, ...]:
    """What to type to get a board: by apt for the best one, by pip where that gives one."""
    lines = []
    if boards:
        best = boards[0]
        packages = [] if compiler_for(best) else best.toolchains[0].apt.split()
        if not has_emulator(best):
            packages += best.apt.split()
        if packages:
            lines.append(f"apt install {' '.join(packages)}")
    if any(board.emulator == "unicorn" or (ZIG in board.toolchains and has_emulator(board)) for board in boards):
        lines.append('pip install "bnnc[emulation]"')
    return tuple(lines)


__all__ = ["AUTO", "HOST", "Choice", "compiler_for", "find", "has", "has_emulator", "needed"]
