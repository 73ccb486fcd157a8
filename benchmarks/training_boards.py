"""Code that trains on emulated boards: a program of its own around it, in which calls of kernels are counted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bnnc.backends.c.boards import Emulated
from bnnc.backends.c.boards.firmware import Array, Firmware
from bnnc.backends.c.training import Trainer
from bnnc.backends.c.training_header import header_text
from bnnc.backends.c.training_source import source_text

_BEGIN = """#include "board.h"
#include "{prefix}.h"
#if !defined(BOARD_COUNTED)
#define board_enter(region) (void)(region)
#define board_leave(region) (void)(region)
#else
void board_calibrate(void);
void board_counts(void);
#endif
"""
_MAIN = """
int main(void);
int main(void) {{
    static uint32_t answers[{answers}];
    uint32_t stack;
    board_start();
#if defined(BOARD_COUNTED)
    board_calibrate();
#endif
    train(answers);
    board_write(answers, (uint32_t)sizeof answers);
    stack = board_stack_bytes();
    board_report(&stack, 4u);
#if defined(BOARD_COUNTED)
    board_counts();
#endif
    board_exit(0);
    return 0;
}}
"""


@dataclass(frozen=True)
class _Firmware(Firmware):
    main: str = ""
    regions: int = 0

    def files(self, counted: bool, rows: bool) -> dict[str, str]:
        source = self.source
        own = list(enumerate(self.functions))[self.regions :]
        if counted and own:
            marks = ['#include "board.h"', *(_mark(number, name) for number, (name, _, _) in own)]
            kernels, public, rest = source.partition(f"int {self.prefix}_accumulate_bits(")
            source = "\n".join([kernels, *marks, public]) + rest
        return {f"{self.prefix}.h": self.header, f"{self.prefix}.c": source, "program.c": self.main}


def _mark(number: int, name: str) -> str:
    return f"#define {name}(...) (board_enter({number}), {name}(__VA_ARGS__), board_leave({number}))"


@dataclass(frozen=True)
class Trained:
    """What a program answered, and how many instructions it executed in its regions."""

    answers: tuple[int, ...]
    instructions: dict[str, int]


def run(
    of: Trainer, train: str, machine: str, answers: int, regions: Sequence[str] = (), *, kernels: bool = False
) -> Trained:
    """Run the code of a trainer on an emulated board of the machine.

    `train`: C with a function `static void train(uint32_t answers[])`, in which board_enter(0) and board_leave(0) are
    around the first of the `regions`. `kernels`: calls of the code's own functions are regions too.
    Raises BnncError: B0614 where no board of the machine can be emulated here, B0613 when the program fails.
    """
    source = source_text(of)
    own = re.findall(r"^static BNNC_ALONE void (\w+)\(", source, re.M) if kernels else []
    functions = tuple((name, "", "") for name in (*regions, *own))
    firmware = _firmware(of.prefix, header_text(of), source, train, answers, functions, len(regions))
    counts, outputs = Emulated(firmware, machine).count([])
    return Trained(_words(outputs), {layer.function: layer.count for layer in counts.layers})


def answers_of(
    files: Mapping[str, bytes], prefix: str, train: str, machine: str, answers: int, board: str
) -> tuple[int, ...]:
    """What `train` makes of PREFIX.h and PREFIX.c on an emulated board. Raises BnncError like `run`."""
    header, source = files[f"{prefix}.h"].decode(), files[f"{prefix}.c"].decode()
    return _words(Emulated(_firmware(prefix, header, source, train, answers), machine, board)([]))


def _firmware(
    prefix: str,
    header: str,
    source: str,
    train: str,
    answers: int,
    functions: tuple[tuple[str, str, str], ...] = (),
    regions: int = 0,
) -> _Firmware:
    main = f"{_BEGIN.format(prefix=prefix)}{train}{_MAIN.format(answers=answers)}"
    return _Firmware(prefix, (), (Array("int32_t", (answers,)),), functions, header, source, main, regions)


def _words(outputs: list[np.ndarray]) -> tuple[int, ...]:
    return tuple(outputs[0].reshape(-1).view(np.uint32).tolist())


__all__ = ["Trained", "answers_of", "run"]
