"""Generated C on emulated boards: built for a Cortex-M, one golden vector run, instructions counted call by call."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bnnc.backends.c import Backend
from bnnc.ir.module import Module

SHARED = Path(os.environ.get("BNNC_SHARED") or Path(__file__).resolve().parent.parent.parent / "shared")
HARNESS = SHARED / "mcu-harness" / "run.py"
TOOLS = ("arm-none-eabi-gcc", "qemu-system-arm", "gcc")
# Machine of ours -> board of the harness. Code for M0 runs on a board with more memory, where sizes do not matter.
BOARDS = {
    "cortex-m0": "m0big",
    "cortex-m3": "m3",
    "cortex-m4": "m4",
    "cortex-m7": "m7",
    "cortex-m33": "m33",
    "cortex-m55": "m55",
}


def missing() -> list[str]:
    """What is not there to emulate boards."""
    tools = [tool for tool in TOOLS if shutil.which(tool) is None]
    return tools if HARNESS.is_file() else [*tools, "mcu-harness"]


@dataclass(frozen=True)
class Run:
    """One run: whether the golden vector came out right, instructions by call, and the sizes of the program."""

    ok: bool
    calls: dict[str, int]
    flash: int
    ram: int
    said: str

    @property
    def instructions(self) -> int:
        """All calls together."""
        return sum(self.calls.values())


def run(module: Module, machine: str, *, layout: str = "hwc", board: str = "", damage: bool = False) -> Run:
    """Emit, build with -O2, and run on the emulated board.

    `flash` holds the start-up code and one golden vector too, `ram` the input, the output and the working memory, but
    no stack. `damage` flips a bit of a table, which must show.
    """
    files = Backend().emit(module, Backend.Options(machine=machine, input_layout=layout, name="net")).files
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "net.h").write_bytes(files["net.h"])
        source = _marked(files["net.c"].decode())
        (place / "net.c").write_text(re.sub(r"(weights\[\d+\] = \{\n +)", r"\1 1u ^ ", source) if damage else source)
        (place / "check.c").write_text(_one_vector(files["net_selftest.c"].decode()))
        (place / "main.c").write_text(_MAIN)
        sources = [str(place / name) for name in ("net.c", "check.c", "main.c")]
        command = [sys.executable, str(HARNESS), "--cpu", board or BOARDS[machine], *sources]
        command += ["--", "-I", folder, "-DBNNC_NO_MAIN"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found = json.loads(done.stdout)
    except ValueError:
        return Run(False, {}, 0, 0, done.stdout + done.stderr)
    if "regions" not in found:
        return Run(False, {}, 0, 0, str(found.get("err", found)))
    calls: dict[str, int] = {}
    for region in found["regions"]:
        calls[region["name"]] = calls.get(region["name"], 0) + int(region["insns"])
    size = found["size"]
    ok = found["rc"] == 0 and "right" in found["stdout"]
    return Run(ok, calls, size["text"] + size["data"], size["data"] + size["bss"], found["stdout"])


def _marked(source: str) -> str:
    """The source with every call of net_run as a region of its own."""
    head, _, tail = source.partition("int net_run(")
    body, end, rest = tail.partition("    return 0;")
    marked = re.sub(
        r"^    (net_\w+)\((.*?)\);$",
        r'    roi_begin("\1");\n    \1(\2);\n    roi_end();',
        body,
        flags=re.S | re.M,
    )
    return f'#include "harness.h"\n{head}int net_run({marked}{end}{rest}'


def _one_vector(selftest: str) -> str:
    """The self-test with its first vector only."""
    shorter = re.sub(r"#define VECTORS \d+u", "#define VECTORS 1u", selftest)
    return re.sub(r"(expected_\w+)\[\d+\] = \{\n(.*?)\};", _first, shorter, flags=re.S)


def _first(table: re.Match[str]) -> str:
    numbers = table[2].replace("\n", " ").split(",")
    return f"{table[1]}[] = {{\n{','.join(numbers[: max(1, len(numbers) // _vectors(table.string))])}}};"


def _vectors(selftest: str) -> int:
    """How many vectors the tables hold: outputs are compared in steps of their length."""
    (total,) = re.findall(r"expected_out\[(\d+)\] = ", selftest)
    (each,) = set(re.findall(r"number \* (\d+)u \+ i", selftest))
    return int(total) // int(each)


_MAIN = """
#include "harness.h"
#include "net.h"
static uint32_t arena[NET_ARENA_WORDS];
int main(void) {
    int result = net_selftest(arena);
    h_puts(result == 0 ? "right\\n" : "WRONG\\n");
    return result;
}
"""

__all__ = ["BOARDS", "TOOLS", "Run", "missing", "run"]
