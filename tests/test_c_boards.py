"""Generated C on emulated boards: outputs are right, and what layers execute stays what it is."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from benchmarks import boards, microcontrollers
from bnnc.backends.c import Backend
from bnnc.backends.c.boards import find
from tests.shared import ROOT, SHARED, needs_shared
from tests.test_boards import needs_board

GOLDEN = ROOT / "tests" / "golden" / "instructions.json"
GATE = 0.02
MACHINES = ("cortex-m0", "cortex-m4", "cortex-m55", "rv32imac", "rv32imac_zbb")
CASES = [(workload, machine) for workload in microcontrollers.WORKLOADS for machine in MACHINES]
CASES.append(("dense 256->256", "avr"))


def compiler(machine: str) -> str:
    """The compiler and its version: others make other code."""
    program = find(machine).ways[0][1].program
    done = subprocess.run([program, "-dumpversion"], capture_output=True, text=True, check=True)
    return f"{program} {done.stdout.strip()}"


@pytest.mark.parametrize(("workload", "machine"), CASES)
def test_outputs_are_right_and_no_layer_grows(workload: str, machine: str, request: pytest.FixtureRequest) -> None:
    """The golden figures are for each function, and for what counts of the workload, within 2 %."""
    if find(machine).installs:
        pytest.skip(f"needs an emulated board: {'; '.join(find(machine).installs)}")
    found, count = microcontrollers.measure(workload, machine)
    assert found.ok, found.said
    figures = {**found.calls, "counted": count}
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    key, by = f"{workload} {machine}", compiler(machine)
    if request.config.getoption("--update-golden"):
        golden.setdefault(by, {})[key] = figures
        GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
        return
    known = golden.get(by, {}).get(key, {})
    grown = {name: (figures[name], n) for name, n in known.items() if figures.get(name, 0) > n * (1 + GATE) + 2}
    assert not grown, "more than before; `pytest --update-golden` if that is meant"


@needs_board("cortex-m4")
def test_a_wrong_weight_is_seen_on_the_board() -> None:
    """The board's verdict can fail: outputs with a table that is not what it was are not the reference's."""
    broken = boards.run(microcontrollers.dense(), "cortex-m4", damage=True)
    assert not broken.ok
    assert broken.said == "WRONG"


@needs_board("cortex-m0")
def test_small_cifar_fits_a_micro_bit() -> None:
    """A real micro:bit: 16 KB of RAM, 256 KB of flash."""
    found = boards.run(microcontrollers.small_cifar(), "cortex-m0", board="microbit")
    assert found.ok, found.said
    assert found.ram + found.stack < 12 * 1024
    assert found.flash < 22 * 1024


STRICT = "-std=c99 -Wall -Wextra -pedantic -Wconversion -Wsign-conversion -Wshadow -Wcast-align -Wcast-qual -Werror"


@needs_board("cortex-m0")
@pytest.mark.parametrize("cpu", ["cortex-m0", "cortex-m4"])
def test_what_arm_processors_load_together_compiles_at_any_level(cpu: str, tmp_path: Path) -> None:
    """Lines of assembly ask for registers by name: there must be enough of them, however a user compiles."""
    options = Backend.Options(machine=cpu, input_layout="hwc", name="net")
    for name, data in Backend().emit(microcontrollers.small_cifar(), options).files.items():
        (tmp_path / name).write_bytes(data)
    assert "BNNC_ADD_WORDS(next" in (tmp_path / "net.c").read_text()
    for level in ("-O0", "-O1", "-O2", "-O3", "-Os", "-O2 -fno-omit-frame-pointer", "-O2 -fPIC", "-O2 -g -fno-inline"):
        command = f"arm-none-eabi-gcc -mcpu={cpu} -mthumb {STRICT} {level} -c net.c -o net.o"
        done = subprocess.run(command.split(), cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{level}: {done.stderr}"


@pytest.mark.parametrize(("machine", "board", "count"), [("cortex-m0", "microbit", 1000), ("avr", "atmega328p", 60)])
@needs_shared
def test_the_shipped_network_reads_digits_in_real_memory(machine: str, board: str, count: int) -> None:
    """At least 97 % of the first test images of MNIST, with 16 KB of RAM, and with 2 KB of RAM and 32 KB of flash."""
    check_accuracy(machine, board, count)


@pytest.mark.slow
@needs_shared
def test_the_shipped_network_reads_a_thousand_digits_on_an_avr() -> None:
    check_accuracy("avr", "atmega328p", 1000)


def check_accuracy(machine: str, board: str, count: int) -> None:
    if find(machine, board).installs:
        pytest.skip(f"needs an emulated board: {'; '.join(find(machine, board).installs)}")
    row = microcontrollers.accuracy(machine, board, microcontrollers.EXAMPLE, str(SHARED / "data" / "mnist"), count)
    assert row.right
    assert row.value is not None
    assert row.value >= 0.97
