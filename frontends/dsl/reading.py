"""From a file to text: nothing that is not short, plain UTF-8 gets past here."""

from __future__ import annotations

from pathlib import Path

from bnnc.diagnostics import error
from bnnc.frontends.dsl.problems import Problems, Source
from bnnc.frontends.dsl.syntax import Span

MAX_BYTES = 1 << 20
_HELP = "bnnc new NAME writes a net to start from"


def read_source(path: Path) -> Source:
    """The text of a file. Raises BnncError B0201 for what is no source text, B0407 where it cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as fault:
        raise error("B0407", f"cannot read `{path}`: {(fault.strerror or str(fault)).lower()}") from None
    return decoded(data, path.name)


def decoded(data: bytes, file: str) -> Source:
    """The text of a file's bytes, without a byte order mark. Raises BnncError B0201."""
    if len(data) > MAX_BYTES:
        raise error(
            "B0201", f"`{file}` is too large for a net: more than {MAX_BYTES >> 20} MiB of text", helps=(_HELP,)
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = data[: fault.start].count(b"\n") + 1
        raise error("B0201", f"`{file}` is not text: line {line} is not UTF-8", helps=(_HELP,)) from None
    source = Source(text, file)
    wrong = next((i for i, c in enumerate(text) if c < " " and c not in "\t\r\n\f"), None)
    if wrong is not None:
        problems = Problems(source)
        problems.add(
            "B0201",
            f"`{file}` is not text: it holds a control character",
            Span(wrong, wrong + 1),
            f"character {ord(text[wrong])}",
            helps=(_HELP,),
        )
        problems.stop()
    if not text.strip():
        raise error("B0201", f"`{file}` is empty", helps=(_HELP,))
    return source
