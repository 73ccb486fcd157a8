"""Generated C on emulated Cortex-M boards: the golden vector is right, and instruction counts stay what they are."""

from __future__ import annotations

import json
import subprocess

import pytest

from benchmarks import boards, microcontrollers
from tests.shared import ROOT, needs_shared

GOLDEN = ROOT / "tests" / "golden" / "instructions.json"
GATE = 0.02
# Shared fixtures have a mark of their own, so only tools are asked for here.
needs_boards = pytest.mark.skipif(
    bool(set(boards.missing()) - {"mcu-harness"}), reason="needs gcc-arm-none-eabi and qemu-system-arm"
)


def compiler() -> str:
    """The compiler's version: other versions make other code."""
    done = subprocess.run(["arm-none-eabi-gcc", "-dumpversion"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@needs_boards
@needs_shared
@pytest.mark.parametrize("machine", ["cortex-m0", "cortex-m4", "cortex-m55"])
@pytest.mark.parametrize("workload", list(microcontrollers.WORKLOADS))
def test_outputs_are_right_and_instructions_do_not_grow(
    workload: str, machine: str, request: pytest.FixtureRequest
) -> None:
    found, count = microcontrollers.measure(workload, machine)
    assert found.ok, found.said
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    key = f"{workload} {machine}"
    if request.config.getoption("--update-golden"):
        golden.setdefault(compiler(), {})[key] = count
        GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
        return
    known = golden.get(compiler(), {}).get(key)
    if known is not None:
        assert count <= known * (1 + GATE), f"{count} instructions, {known} before"


@needs_boards
@needs_shared
def test_a_wrong_weight_is_seen_on_the_board() -> None:
    """The board's verdict can fail: one vector finds a table that is not what it was."""
    broken = boards.run(microcontrollers.dense(), "cortex-m4", damage=True)
    assert not broken.ok
    assert "WRONG" in broken.said


@needs_boards
@needs_shared
def test_small_cifar_fits_a_micro_bit() -> None:
    """A real micro:bit: 16 KB of RAM, 256 KB of flash."""
    found = boards.run(microcontrollers.small_cifar(), "cortex-m0", board="m0")
    assert found.ok, found.said
    assert found.ram + 2048 < 16 * 1024
    assert found.flash < 24 * 1024
