"""The program that a board runs: the generated network, and a `main` that feeds it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bnnc.diagnostics import error

TYPES: dict[str, np.dtype[Any]] = {
    "float": np.dtype(np.float32),
    "int8_t": np.dtype(np.int8),
    "uint8_t": np.dtype(np.uint8),
    "int16_t": np.dtype(np.int16),
    "int32_t": np.dtype(np.int32),
    "int64_t": np.dtype(np.int64),
}


@dataclass(frozen=True)
class Array:
    """An input or an output: its C type, and how many numbers it holds."""

    kind: str
    shape: tuple[int, ...]

    @property
    def length(self) -> int:
        """How many numbers it holds."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def bytes(self) -> int:
        """How many bytes it takes."""
        return self.length * TYPES[self.kind].itemsize

    def dtype(self, big_endian: bool) -> np.dtype[Any]:
        """Its numbers as the board's memory holds them."""
        return TYPES[self.kind].newbyteorder(">" if big_endian else "<")


@dataclass(frozen=True)
class Firmware:
    """An artifact of the C target, ready to be put on a board. `layers`: (function, its layer, its op)."""

    prefix: str
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    functions: tuple[tuple[str, str, str], ...]
    header: str
    source: str

    @property
    def input_bytes(self) -> int:
        """The bytes of one sample."""
        return sum(array.bytes for array in self.inputs)

    @property
    def output_bytes(self) -> int:
        """The bytes of the results for one sample."""
        return sum(array.bytes for array in self.outputs)

    @property
    def takes_rows(self) -> bool:
        """Whether there is a NAME_run_rows, which is given its input row by row."""
        return f"int {self.prefix}_run_rows(" in self.header

    def files(self, counted: bool, rows: bool) -> dict[str, str]:
        """The C files. `counted`: every call of a layer is a region, and the report says what each took. `rows`: the
        image is never in memory as a whole."""
        source = self._marked() if counted else self.source
        program = self._program(counted, rows)
        return {f"{self.prefix}.h": self.header, f"{self.prefix}.c": source, "program.c": program}

    def ordered(self, index: int, array: np.ndarray, rows: bool) -> np.ndarray:
        """Samples of an input in the order in which the program reads them: rows have all their channels together."""
        shape = self.inputs[index].shape
        shaped = np.asarray(array).reshape(len(array), *shape)
        count = re.search(rf"^#define {self.prefix.upper()}_ROWS (\d+)u", self.header, re.M)
        if rows and count and len(shape) == 3 and int(count[1]) == shape[1] and "[channel][height]" in self.header:
            return np.moveaxis(shaped, 1, 2)
        return shaped

    def _marked(self) -> str:
        """The source, where calls of layers are followed by the clock: macros of the functions' own names."""
        marks = ['#include "board.h"']
        for number, (symbol, _, _) in enumerate(self.functions):
            marks.append(f"#define {symbol}(...) (board_enter({number}), {symbol}(__VA_ARGS__), board_leave({number}))")
        place = re.search(rf"^(static int {self.prefix}_rows\(|int {self.prefix}_run)", self.source, re.M)
        assert place is not None
        return "\n".join([self.source[: place.start()], *marks, self.source[place.start() :]])

    def _program(self, counted: bool, rows: bool) -> str:
        upper = self.prefix.upper()
        arrays = [(f"in_{n}", a) for n, a in enumerate(self.inputs)]
        results = [(f"out_{n}", a) for n, a in enumerate(self.outputs)]
        passed = ", ".join([*(name for name, _ in (*arrays, *results)), "arena"])
        ready = " && ".join(f"board_read({name}, {a.bytes}u) != 0" for name, a in arrays) or "once-- != 0"
        lines = ['#include "board.h"', f'#include "{self.prefix}.h"', ""]
        lines += [f"static {a.kind} {name}[{max(1, a.length)}];" for name, a in (*(() if rows else arrays), *results)]
        lines += [f"static uint32_t arena[{upper}{'_ROWS' if rows else ''}_ARENA_WORDS];"]
        if rows:
            ready = "1"
            passed = ", ".join(["next_row", "0", *(name for name, _ in results), "arena"])
            lines += [
                f"static int next_row(void *context, uint32_t row, {arrays[0][1].kind} target[]) {{",
                "    (void)context;",
                "    (void)row;",
                f"    return board_read(target, {upper}_ROW_BYTES) != 0 ? 0 : 1;",
                "}",
            ]
        elif not arrays:
            lines.append("static int once = 1;")
        if counted:
            lines += ["void board_calibrate(void);", "void board_counts(void);"]
        lines += ["int main(void);", "", "int main(void) {", "    uint32_t stack;", "    board_start();"]
        if counted:
            lines.append("    board_calibrate();")
        call = f"{self.prefix}_run{'_rows' if rows else ''}({passed})"
        lines += [f"    while ({ready}) {{", f"        if ({call} != 0) {{"]
        lines += ["            break;" if rows else "            board_exit(1);", "        }"]
        lines += [f"        board_write({name}, {a.bytes}u);" for name, a in results]
        lines += ["    }", "    stack = board_stack_bytes();", "    board_report(&stack, 4u);"]
        if counted:
            lines.append("    board_counts();")
        return "\n".join([*lines, "    board_exit(0);", "    return 0;", "}", ""])


def firmware_of(files: Mapping[str, bytes]) -> Firmware:
    """The firmware of NAME.h, NAME.c and NAME.json, by their names in an artifact. Raises BnncError B0613."""
    found = [name for name in files if name.endswith(".json") and f"{name[:-5]}.c" in files]
    try:
        facts = json.loads(files[found[0]])
        prefix = str(facts["name"])
        header, source = files[f"{prefix}.h"].decode(), files[f"{prefix}.c"].decode()
        inputs, outputs = (tuple(Array(a["type"], tuple(a["shape"])) for a in facts[k]) for k in ("inputs", "outputs"))
        rows = {f"{prefix}_{row['function']}": (str(row["layer"]), str(row["op"])) for row in facts["layers"]}
    except (IndexError, KeyError, TypeError, ValueError):
        raise error("B0613", "these files are no network that the C target has written") from None
    symbols = re.findall(r"^static BNNC_ALONE void (\w+)\(", source, re.M)
    functions = tuple((symbol, *rows.get(symbol, ("", ""))) for symbol in symbols)
    return Firmware(prefix, inputs, outputs, functions, header, source)


__all__ = ["TYPES", "Array", "Firmware", "firmware_of"]
