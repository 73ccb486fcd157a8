"""Emulated boards run the generated code: the reference's bits, and exact counts, whichever emulator counts."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.microcontrollers import dense
from bnnc import api
from bnnc.backends.c import Backend
from bnnc.backends.c.boards import Emulated, choice, find, instructions
from bnnc.backends.c.boards.table import BOARDS, Board
from bnnc.backends.c.onboard import OnBoard
from bnnc.data.seeded import seeded
from bnnc.diagnostics import BnncError
from bnnc.ir.module import Module
from bnnc.passes import pipelines
from bnnc.reference.run import run
from tests.shared import ROOT
from tests.test_c_artifact import small

MACHINES = sorted({board.machine for board in BOARDS})


def needs(board: Board) -> None:
    """Skips where the board's compiler or emulator is not there."""
    choice = find(board.machine, board.name)
    if not choice.ways:
        pytest.skip(f"needs what `{board.name}` needs: {'; '.join(choice.installs)}")


def needs_board(machine: str) -> pytest.MarkDecorator:
    """A mark for tests that run code on an emulated board of a machine."""
    lacking = find(machine).installs
    return pytest.mark.skipif(bool(lacking), reason=f"needs an emulated board: {'; '.join(lacking)}")


def emitted(module: Module, machine: str) -> dict[str, bytes]:
    return dict(Backend().emit(module, Backend.Options(machine=machine, name="net")).files)


def images(count: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, 3, 5, 7))


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_a_board_gives_the_bits_of_the_reference(board: Board) -> None:
    needs(board)
    module, inputs = small(), images(3)
    emulated = Emulated(emitted(module, board.machine), board.machine, board.name)
    expected = run(module, {"image": inputs})["scores"].reshape(3, -1)
    if not board.counts:
        assert np.array_equal(emulated([inputs])[0], expected)
        with pytest.raises(BnncError):
            emulated.count([inputs])
        return
    counts, outputs = emulated.count([inputs])
    assert np.array_equal(outputs[0], expected)
    assert {layer.layer for layer in counts.layers} >= {"hidden"}
    assert all(layer.calls % 3 == 0 and layer.count > 0 for layer in counts.layers)
    assert counts.total > 3 * 1000


@pytest.mark.parametrize("name", ["microbit", "mps3-an547", "virt-rv32", "sim-lx106", "atmega328p", "unicorn-m4"])
def test_a_count_is_the_same_each_time(name: str) -> None:
    (board,) = [board for board in BOARDS if board.name == name]
    needs(board)
    emulated = Emulated(emitted(dense(), board.machine), board.machine, name)
    bits = np.random.default_rng(1).choice([-1, 1], (1, 256))
    (one, _), (two, _) = emulated.count([bits]), emulated.count([bits])
    assert (one.stack, one.ram, one.flash) == (two.stack, two.ram, two.flash)
    for first, second in zip(one.layers, two.layers, strict=True):
        # A clock that starts in the middle of an instruction's time rounds one up or down.
        assert abs(first.count - second.count) <= 1


@pytest.mark.parametrize("machine", ["cortex-m0"])
def test_two_emulators_count_the_same(machine: str) -> None:
    """QEMU counts by a timer of the board, unicorn by the lengths of blocks: they differ by roundings of the timer."""
    boards = [board for board in BOARDS if board.machine == machine]
    for board in boards:
        needs(board)
    files = emitted(dense(), machine)
    bits = np.random.default_rng(1).choice([-1, 1], (2, 256))
    found = [instructions(files, machine, [bits], board=board.name) for board in boards]
    totals = [counts.total for counts in found]
    assert max(totals) - min(totals) <= 4 * sum(layer.calls for layer in found[0].layers)
    assert totals[0] > 10_000


@pytest.mark.parametrize("layout", ["chw", "hwc"])
@pytest.mark.parametrize("machine", ["cortex-m0"])
def test_images_come_row_by_row(machine: str, layout: str) -> None:
    """Colour images that are not square, their rows asked for one by one: the same bits, in less memory."""
    for board in BOARDS:
        if board.machine == machine:
            needs(board)
    files = dict(Backend().emit(small(), Backend.Options(machine=machine, input_layout=layout, name="net")).files)
    inputs = images(3)
    expected = run(small(), {"image": inputs})["scores"].reshape(3, -1)
    given = np.moveaxis(inputs, 1, -1) if layout == "hwc" else inputs
    by_rows, whole = (Emulated(files, machine, rows=rows) for rows in (True, False))
    (counts, found), (other, same) = by_rows.count([given]), whole.count([given])
    assert np.array_equal(found[0], expected)
    assert np.array_equal(same[0], expected)
    assert by_rows.rows
    assert not whole.rows
    assert counts.total > 0
    assert counts.ram < other.ram + 3 * 5 * 7


@pytest.mark.parametrize(("machine", "name"), [("cortex-m4", "unicorn-m4"), ("generic-c", "powerpc")])
def test_float_layers_with_the_compiler_that_pip_brings(
    machine: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """zig has no C library for these boards: floats are the FPU's instructions, or functions that bnnc brings along."""
    (board,) = [board for board in BOARDS if board.name == name]
    needs(board)
    monkeypatch.setattr(choice, "has", lambda toolchain: not toolchain.program)
    module = pipelines.optimise(api.load(ROOT / "examples" / "language" / "islands.bnn"), require_binary=False)
    inputs = seeded(module, 2, 0)
    network = Backend().load(module, Backend.Options(machine=machine, board=name))
    assert isinstance(network, OnBoard)
    assert "zig cc" in network.place.text
    found = network(inputs)
    for output, array in run(module, inputs).items():
        assert np.array_equal(found[output], array, equal_nan=True)


def test_files_that_are_no_network_are_refused() -> None:
    with pytest.raises(BnncError) as caught:
        Emulated({"net.c": b"", "net.json": b"{}"}, "cortex-m4")
    assert caught.value.diagnostics[0].code == "B0613"


def test_a_batch_of_nothing_gives_nothing() -> None:
    board = next(board for board in BOARDS if board.name == "unicorn-m0")
    needs(board)
    (outputs,) = Emulated(emitted(small(), board.machine), board.machine, board.name)([images(0)])
    assert outputs.shape == (0, 10)
