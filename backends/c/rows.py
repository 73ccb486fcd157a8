"""NAME_run_rows: an input that comes row by row, by a function of the caller's."""

from __future__ import annotations

from dataclasses import dataclass

from bnnc.backends.c.interface import Interface, Signature
from bnnc.loops.ir import Fetch, statements_of
from bnnc.loops.lower.program import Lowered


@dataclass(frozen=True)
class RowInput:
    """How the rows of a network's only input come.

    `rows` rows of `length` elements: one of [width][channel], or with `channels` above 1 of [channel][width], so that
    channel after channel has its row. `streamed`: each row is used at once and forgotten. Otherwise the input is
    brought together behind the `words` of the arena that `NAME_run` takes.
    """

    rows: int
    length: int
    channels: int
    width: int
    kind: str
    element_bytes: int
    streamed: bool
    words: int
    arena_words: int
    arena_words_run: int

    @property
    def order(self) -> str:
        """The order of a row's elements, for people."""
        if self.rows == 1:
            return "the whole input"
        return "[channel][width], the row of every channel" if self.channels > 1 else "[width][channel]"


def row_input(interface: Interface, signature: Signature, lowered: Lowered) -> RowInput | None:
    """How rows come; None for networks of several inputs."""
    if len(signature.inputs) != 1:
        return None
    (p,) = signature.inputs
    arena = -(-lowered.program.arena_bytes // 4)
    rows, width, channels = 1, p.length, 1
    if len(p.shape) == 3:
        if p.label in interface.channels_last:
            rows, width = p.shape[0], p.shape[1] * p.shape[2]
        else:
            channels, rows, width = p.shape
    if lowered.streamed is not None:
        # What a row is, the code says that takes it: models may turn their input themselves.
        (fetch,) = {(s.runs, s.count) for s in statements_of(lowered.program.entry.body) if isinstance(s, Fetch)}
        channels, width = fetch
        rows = p.length // (channels * width)
    length = width * channels
    if lowered.streamed is not None:
        run = max(1, -(-lowered.streamed // 4))
        return RowInput(rows, length, channels, width, p.kind, p.element_bytes, True, run, max(1, arena), run)
    arena = max(1, arena)
    image = -(-rows * length * p.element_bytes // 4)
    extra = -(-length * p.element_bytes // 4) if channels > 1 and rows > 1 else 0
    return RowInput(rows, length, channels, width, p.kind, p.element_bytes, False, arena, arena + image + extra, arena)


def rows_header(rows: RowInput | None, prefix: str, outputs: str) -> list[str]:
    """The part of the header about rows."""
    upper = prefix.upper()
    if rows is None:
        return [f"/* There is no {prefix}_run_rows: the network has several inputs. */", ""]
    how = "Each row is asked for once, in order, and forgotten: the image is never in memory as a whole."
    if not rows.streamed:
        how = "The network needs its whole input at once, which is brought together in the arena."
    return [
        f"/* An input that comes in {rows.rows} rows of {rows.length} {rows.kind}, each {rows.order}. */",
        f"#define {upper}_ROWS {rows.rows}u",
        f"#define {upper}_ROW_LEN {rows.length}u",
        f"#define {upper}_ROW_BYTES {rows.length * rows.element_bytes}u",
        f"/* Words of working memory for {prefix}_run_rows: exact. */",
        f"#define {upper}_ROWS_ARENA_WORDS {rows.arena_words}u",
        "",
        "/* Writes one row of the input, counted from 0. Anything but 0 ends the run. */",
        f"typedef int (*{prefix}_row_fn)(void *context, uint32_t row, {rows.kind} target[]);",
        "",
        f"/* As {prefix}_run, with the input given row by row. {how}",
        " * Returns 0, or 1 where the function asked for an end: then there are no outputs. */",
        f"int {prefix}_run_rows({prefix}_row_fn get_row, void *context, {outputs}, uint32_t arena[]);",
        "",
    ]


def selftest_header(rows: RowInput | None, prefix: str) -> list[str]:
    """What the header says of the self-test of rows."""
    if rows is None:
        return []
    return [
        f"/* The same with {prefix}_run_rows, and its arena. */",
        f"int {prefix}_selftest_rows(uint32_t arena[]);",
    ]


def rows_source(rows: RowInput, prefix: str, input_name: str, parameters: str, names: list[str]) -> list[str]:
    """NAME_run and NAME_run_rows of a streamed network, around NAME_rows; or NAME_run_rows around NAME_run."""
    passed = ", ".join([*names, "arena"])
    outputs = parameters.split(", ", 1)[1]
    head = f"int {prefix}_run_rows({prefix}_row_fn get_row, void *context, {outputs}) {{"
    if rows.streamed:
        return [
            f"int {prefix}_run({parameters}) {{",
            f"    return {prefix}_rows({input_name}, 0, 0, {passed});",
            "}",
            "",
            head,
            f"    return {prefix}_rows(0, get_row, context, {passed});",
            "}",
            "",
        ]
    image = f"    {rows.kind} *const image = ({rows.kind} *)(void *)(arena + {rows.words});"
    lines = [head, image]
    if rows.rows == 1:
        lines += ["    if (get_row(context, 0u, image) != 0) {", "        return 1;", "    }"]
    elif rows.channels == 1:
        lines += [
            "    uint32_t row;",
            f"    for (row = 0; row < {rows.rows}u; ++row) {{",
            f"        if (get_row(context, row, image + row * {rows.length}u) != 0) {{",
            "            return 1;",
            "        }",
            "    }",
        ]
    else:
        behind = rows.words - (-rows.rows * rows.length * rows.element_bytes // 4)
        lines += [
            f"    {rows.kind} *const one = ({rows.kind} *)(void *)(arena + {behind});",
            "    uint32_t row;",
            f"    for (row = 0; row < {rows.rows}u; ++row) {{",
            "        uint32_t channel;",
            "        if (get_row(context, row, one) != 0) {",
            "            return 1;",
            "        }",
            f"        for (channel = 0; channel < {rows.channels}u; ++channel) {{",
            "            uint32_t x;",
            f"            for (x = 0; x < {rows.width}u; ++x) {{",
            f"                const uint32_t place = (channel * {rows.rows}u + row) * {rows.width}u + x;",
            f"                image[place] = one[channel * {rows.width}u + x];",
            "            }",
            "        }",
            "    }",
        ]
    return [*lines, f"    return {prefix}_run(image, {passed});", "}", ""]


__all__ = ["RowInput", "row_input", "rows_header", "rows_source", "selftest_header"]
