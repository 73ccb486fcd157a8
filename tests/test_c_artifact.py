"""The files of the C target: warning-free, self-testing, usable twice at once, whatever layers are called."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from bnnc import api
from bnnc.backends.c import Backend
from bnnc.ir import bit
from bnnc.ir.location import Location
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.types import Bit, Int
from bnnc.passes import pipelines
from bnnc.reference.run import run as reference
from tests.c_code import SANITIZERS, build, needs_gcc, prefix_of, run
from tests.shared import ROOT

MACHINES = ["generic-c", "cortex-m4", "avr"]


def signs(channels: int) -> np.ndarray:
    """Rising steps."""
    return np.tile(np.array([[-1, 1]], np.int32), (channels, 1))


def small(name: str = "net", layer: str = "hidden", padding: int = 0) -> Module:
    """Two layers on an image of pixels that is not square."""
    rng = np.random.default_rng(5)
    x = Input("image", Int(0, 255), (3, 5, 7), loc=Location(layer))
    first = rng.choice([-1, 1], (40, 3, 3, 3)).astype(np.int8)
    conv = bit.Conv(x, first, (1, 1), (1, 1, 1, 1), (1, 1), loc=Location(layer))
    step = bit.Step(conv, rng.integers(-200, 200, (40, 1)).astype(np.int32), signs(40), Bit())
    second = rng.choice([-1, 1], (33, 40, 3, 3)).astype(np.int8)
    conv2 = bit.Conv(step, second, (2, 2), (1, 1, 1, 1), (1, 1), 1, padding, loc=Location(layer))
    step2 = bit.Step(conv2, rng.integers(-9, 9, (33, 1)).astype(np.int32), signs(33), Bit())
    third = rng.choice([-1, 1], (10, 33, 3, 4)).astype(np.int8)
    scores = bit.Conv(step2, third, (1, 1), (0, 0, 0, 0), (1, 1), loc=Location(layer))
    return Module(name, (x,), (Output("scores", scores, "int32"),))


def emitted(module: Module, **options: object) -> dict[str, bytes]:
    return dict(Backend().emit(module, Backend.Options(**options)).files)


@needs_gcc
@pytest.mark.parametrize("machine", MACHINES)
def test_no_warning_no_sanitizer_report_and_the_self_test_passes(machine: str, tmp_path: Path) -> None:
    code, text = run(build(emitted(small(), machine=machine), tmp_path, "-O1", *SANITIZERS))
    assert code == 0, text
    count = int(re.search(r"ok, (\d+) golden vectors", text)[1])  # type: ignore[index]
    assert count >= 16


@needs_gcc
@pytest.mark.parametrize("machine", MACHINES)
def test_the_example_as_a_newcomer_compiles_it(machine: str, tmp_path: Path) -> None:
    module = api.load(ROOT / "examples" / "mnist" / "model.onnx", pixels={"": (1 / 255, (0.0,), (1.0,))})
    code, text = run(build(emitted(pipelines.optimise(module), machine=machine), tmp_path, "-O2"))
    assert (code, text[:9]) == (0, "model: ok")


def _selftest_without_checksum(files: dict[str, bytes]) -> dict[str, bytes]:
    """The golden vectors alone must find the damage."""
    name = f"{prefix_of(files)}_selftest.c"
    text = files[name].decode()
    changed = re.sub(r"if \(\w+_checksum\(\) != ", "if (0u != 0u * ", text)
    assert changed != text
    return {**files, name: changed.encode()}


@needs_gcc
@pytest.mark.parametrize("table", ["weights", "threshold"])
@pytest.mark.parametrize("machine", ["generic-c", "cortex-m4"])
def test_a_flipped_bit_of_a_table_is_found(machine: str, table: str, tmp_path: Path) -> None:
    files = emitted(small(), machine=machine)
    source = f"{prefix_of(files)}.c"
    text = files[source].decode()
    found = list(re.finditer(r"static const \w+ (?:BNNC_ROM )?(\w+)\[\d+\] = \{\n    ([-\w]+)", text))
    places = [m for m in found if table[:-1] in m[1] or (table == "threshold" and "limit" in m[1])]
    assert len(places) >= 2
    for place in places:
        flipped = f"({place[2]} ^ {'1' if 'weight' in place[1] else '8'})"
        wrong = {**files, source: (text[: place.start(2)] + flipped + text[place.end(2) :]).encode()}
        code, said = run(build(wrong, tmp_path, "-O0"))
        assert (code, "damaged" in said) == (1, True), place[1]


@needs_gcc
def test_tables_go_where_the_macro_says(tmp_path: Path) -> None:
    files = emitted(small(), machine="cortex-m4")
    program = build(files, tmp_path, "-O1", '-DBNNC_ROM=__attribute__((section(".weights")))')
    assert run(program)[0] == 0
    listed = subprocess.run(["objdump", "-h", str(program)], capture_output=True, text=True, check=True).stdout
    size = re.search(r"\.weights +([0-9a-f]+)", listed)
    assert size is not None
    assert int(size[1], 16) >= json.loads(files["net.json"])["rom_bytes"]


@needs_gcc
def test_the_golden_vectors_alone_find_a_wrong_weight_and_a_wrong_pad(tmp_path: Path) -> None:
    files = _selftest_without_checksum(emitted(small()))
    assert run(build(files, tmp_path))[0] == 0
    source = f"{prefix_of(files)}.c"
    text = files[source].decode()
    place = re.search(r"weights\[\d+\] = \{\n    (0x\w+)", text)
    assert place is not None
    wrong = text[: place.start(1)] + f"({place[1]} ^ 0x1)" + text[place.end(1) :]
    code, said = run(build({**files, source: wrong.encode()}, tmp_path))
    assert (code, "FAILED at golden vector" in said) == (1, True)
    padded = _selftest_without_checksum(emitted(small(padding=1)))
    other = {**padded, f"{prefix_of(files)}_selftest.c": files[f"{prefix_of(files)}_selftest.c"]}
    assert run(build(other, tmp_path))[0] == 1


AWKWARD = [
    "int",
    "9lives",
    'a"b\nc',
    "*/ int x; /*",
    "ünï",
    "conv/1.weight",
    "register",
    "x" * 300,
    "??/\n",
    "run",
    "\\",
]


@needs_gcc
@pytest.mark.parametrize("name", AWKWARD)
def test_names_never_break_the_code(name: str, tmp_path: Path) -> None:
    files = emitted(small(name, name))
    assert all(re.fullmatch(r"\w+\.\w+", file, re.ASCII) for file in files)
    assert run(build(files, tmp_path, "-O0"))[0] == 0


@needs_gcc
def test_two_instances_and_a_reader_in_another_language(tmp_path: Path) -> None:
    """Two networks in one program, called in turns with arenas of their own; the headers are C++ too."""
    one, two = emitted(small("one")), emitted(small("two", padding=-1))
    main = """
#include <stdio.h>
#include "one.h"
#include "two.h"
int main(void) {
    static uint32_t a[ONE_ARENA_WORDS], b[TWO_ARENA_WORDS];
    printf("%d %d\\n", one_selftest(a) | one_selftest(a), two_selftest(b) | one_selftest(a));
    return 0;
}
"""
    for name, content in {**one, **two, "main.c": main.encode()}.items():
        (tmp_path / name).write_bytes(content)
    sources = [str(p) for p in tmp_path.glob("*.c")]
    target = tmp_path / "both"
    command = ["gcc", "-std=c99", "-DBNNC_NO_MAIN", "-o", str(target), *sources]
    assert subprocess.run(command, check=False).returncode == 0
    assert run(target) == (0, "0 0\n")
    header = one["one.h"].decode()
    assert 'extern "C"' in header


@needs_gcc
@pytest.mark.parametrize("layout", ["chw", "hwc"])
def test_the_input_lies_as_the_header_says(layout: str, tmp_path: Path) -> None:
    """A colour image that is not square, handed over by hand in the layout of the header."""
    module = small()
    files = emitted(module, input_layout=layout)
    header = files["net.h"].decode()
    assert ("[height][width][channel]" if layout == "hwc" else "[channel][height][width]") in header
    assert "#define NET_INPUT_HEIGHT 5u" in header
    assert "#define NET_INPUT_WIDTH 7u" in header
    image = np.random.default_rng(1).integers(0, 256, (1, 3, 5, 7))
    given = image[0] if layout == "chw" else image[0].transpose(1, 2, 0)
    numbers = ", ".join(str(v) for v in given.reshape(-1))
    main = f"""
#include <stdio.h>
#include "net.h"
int main(void) {{
    static const uint8_t image[] = {{{numbers}}};
    uint32_t arena[NET_ARENA_WORDS];
    int32_t out[NET_OUTPUT_LEN];
    unsigned i;
    net_run(image, out, arena);
    for (i = 0; i < NET_OUTPUT_LEN; ++i) printf("%ld ", (long)out[i]);
    printf("%lu", (unsigned long)net_argmax(out));
    return 0;
}}
"""
    kept = {"net.h": files["net.h"], "net.c": files["net.c"], "main.c": main.encode()}
    code, text = run(build(kept, tmp_path))
    expected = reference(module, {"image": image})["scores"].reshape(-1)
    assert code == 0
    assert [int(word) for word in text.split()] == [*expected.tolist(), int(expected.argmax())]


def test_sizes_and_layers_stand_in_the_json_and_nothing_is_written() -> None:
    files = emitted(small())
    facts = json.loads(files["net.json"])
    assert facts["arena_words"] > 0
    assert facts["rom_bytes"] == sum(table["bytes"] for table in facts["tables"])
    assert {layer["layer"] for layer in facts["layers"]} >= {"hidden"}
    source = files["net.c"].decode()
    assert not re.search(r"^static (?!const|inline|BNNC_ALONE void|int net_rows\()", source, re.M)
    assert not re.search(r"\b(malloc|free|float|double)\b", source)
    assert emitted(small()) == files


@needs_gcc
def test_the_stack_bound_holds(tmp_path: Path) -> None:
    files = emitted(small())
    bound = json.loads(files["net.json"])["stack_bytes"]
    build(files, tmp_path, "-O2", "-fstack-usage")
    usage = [line.split("\t") for path in tmp_path.glob("*net.su") for line in path.read_text().splitlines()]
    frames = {line[0].rsplit(":", 1)[1]: int(line[1]) for line in usage}
    assert frames
    assert frames["net_run"] + max(size for name, size in frames.items() if name != "net_run") <= bound
