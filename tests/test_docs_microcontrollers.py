"""The page on microcontrollers is true: its commands run as a newcomer types them, and its firmware compiles."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bnnc import api
from bnnc.backends.c import Backend
from bnnc.backends.c.boards.table import BOARDS
from bnnc.backends.c.packages import KINDS
from bnnc.passes import pipelines
from tests.c_code import needs_gcc
from tests.shared import ROOT

PAGE = (ROOT / "docs" / "microcontrollers.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.S | re.M)
SAID = {
    "./selftest": r": ok, \d+ golden vectors",
    "ctest": "100% tests passed",
    "bnnc run": "class 3",
    "bnnc check": "100 of 100 inputs equal to the reference",
    "bnnc bench": "instructions a sample",
}


@needs_gcc
@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_commands_run_and_say_what_the_page_says(number: int, tmp_path: Path) -> None:
    block = BLOCKS[number]
    for program in ("cmake", "ctest"):
        if program in block and shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euc", block],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning:" not in done.stderr
    expected = [text for start, text in SAID.items() if any(line.startswith(start) for line in block.splitlines())]
    assert expected
    for text in expected:
        assert re.search(text, done.stdout), text


@needs_gcc
def test_the_firmware_of_the_page_compiles(tmp_path: Path) -> None:
    firmware = re.findall(r"^```c\n(.*?)^```", PAGE, re.S | re.M)
    assert len(firmware) == 2  # with the whole image, and row by row
    model = ROOT / "examples" / "mnist" / "model.onnx"
    module = pipelines.optimise(api.load(model, pixels={"": (1 / 255, (0.0,), (1.0,))}))
    for name, content in Backend().emit(module, Backend.Options(name="mnist")).files.items():
        (tmp_path / name).write_bytes(content)
    camera = "#include <stdint.h>\nint read_line(void *camera, uint32_t row, uint8_t target[]);\n"
    for number, text in enumerate(firmware):
        (tmp_path / f"firmware{number}.c").write_text(camera + text)
    main = "#include <stdint.h>\nint read_line(void *camera, uint32_t row, uint8_t target[]) { return 1; }\n"
    (tmp_path / "main.c").write_text(main + "int main(void) { return 0; }\n")
    sources = ["main.c", "firmware0.c", "firmware1.c", "mnist.c"]
    command = ["gcc", "-std=c99", "-Wall", "-Werror", "-o", "firmware", *sources]
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 0


def test_every_board_and_package_stands_on_the_page() -> None:
    assert all(f"`{kind}`" in PAGE for kind in KINDS if kind != "none")
    assert all(f"`{board.machine}`" in PAGE for board in BOARDS)
