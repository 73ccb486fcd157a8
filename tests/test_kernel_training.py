"""Parts of native training on their own: random numbers, roots, layouts of weights, phases, and barriers."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest

from bnnc.backends.llvm.printer import print_llvm
from bnnc.ir.training import REINFORCE, draw
from bnnc.loops.builder import Builder
from bnnc.loops.ir import I32, I64, Buffer, Constant, LaneIndex, Program, constant, load, splat, vector_of
from bnnc.loops.kernels.training import draws, numbers
from bnnc.loops.kernels.training.layouts import Signs, signs_layout
from bnnc.loops.lower.training.phases import ONE, SAMPLES, Task, phases
from bnnc.loops.machine import machine_for
from bnnc.loops.text import print_program
from bnnc.loops.verify import verify_program
from bnnc.reference.loop import LoopError, run_entry


@pytest.mark.parametrize("lanes", [1, 8])
def test_draws_are_those_of_the_ir(lanes: int) -> None:
    cases = [(0, 0, 0, 0), (1, REINFORCE, 3, 17), (2**31 - 1, 4, 255, 2**31 - 1)]
    type_ = vector_of(I64, lanes)
    for seed, purpose, layer, time in cases:
        b = Builder("run")
        out = b.parameter("out", I64, lanes, "write")
        start = b.scalar("start", I64)
        key = draws.stream(b, Constant(seed, I64), purpose, layer, Constant(time, I64))
        b.store(out, 0, draws.draw(b, key, splat(start, type_) + LaneIndex(type_)))
        program = Program("test", (), b.function(), (), (out,))
        for index in (0, 1, 65536 * 60_000):
            array = np.zeros(lanes, np.int64)
            run_entry(program, [array], [index], np.zeros(0, np.uint8))
            wanted = [draw(seed, purpose, layer, time, index + lane) for lane in range(lanes)]
            assert array.view(np.uint64).tolist() == wanted


def test_square_roots_are_exact() -> None:
    b = Builder("run")
    out = b.parameter("out", I64, 1, "write")
    b.store(out, 0, numbers.square_root(b, b.scalar("value", I64)))
    program = Program("test", (), b.function(), (), (out,))
    roots = [0, 1, 2, 3, 1000, 46340, 46341, 2**31 - 1, 2**31, 3037000499]
    values = {max(0, min(2**63 - 1, root * root + more)) for root in roots for more in (-1, 0, 1)} | {2**63 - 1}
    for value in values:
        found = np.zeros(1, np.int64)
        run_entry(program, [found], [value], np.zeros(0, np.uint8))
        assert found[0] == math.isqrt(value), value


@pytest.mark.parametrize("machine", ["generic", "x86-64", "x86-64-v3", "znver5", "aarch64"])
@pytest.mark.parametrize(("rows", "width"), [(1, 1), (10, 33), (32, 64), (47, 95), (525, 785)])
def test_weights_come_back_from_the_layout_of_products(machine: str, rows: int, width: int) -> None:
    weights = np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (rows, width))
    layout = signs_layout(rows, width, machine_for(machine))
    packed = layout.pack(weights)
    assert packed.size == layout.length
    np.testing.assert_array_equal(layout.unpack(packed), weights)
    # Nothing is set where there is no weight.
    assert int(np.unpackbits(packed.view(np.uint8)).sum()) == int((weights > 0).sum())


def test_a_unit_of_weights_holds_neighbours_of_one_row_and_lanes_are_rows() -> None:
    layout = Signs(3, 40, 2, 16)
    weights = -np.ones((3, 40), np.int8)
    weights[2, 17] = 1
    units = layout.pack(weights).reshape(layout.vectors, layout.units, layout.lanes)
    assert np.argwhere(units).tolist() == [[1, 1, 0]]
    assert units[1, 1, 0] == 1 << 1


def _task(name: str, share: str | int, reads: list[Buffer], writes: list[Buffer]) -> Task:
    return Task(name, share, tuple(reads), tuple(writes), lambda b, run: None)


def test_threads_meet_only_where_one_needs_what_another_did() -> None:
    a, b, c, d = (Buffer(name, I32, 1, "arena") for name in "abcd")
    sums = _task("sums", SAMPLES, [], [a])
    picks = _task("picks", SAMPLES, [a], [b])
    total = _task("total", ONE, [a], [c])
    rows = _task("rows", 8, [b], [d])
    more = _task("more", SAMPLES, [a], [b])
    names = [[task.name for task in phase] for phase in phases([sums, total, picks, rows, more])]
    # The second writer of b waits for the rows that read what the first one wrote.
    assert names == [["sums", "picks"], ["total", "rows"], ["more"]]


def test_rows_of_two_matrices_are_shared_out_differently() -> None:
    a, b = (Buffer(name, I32, 1, "arena") for name in "ab")
    one, two = _task("one", 8, [], [a]), _task("two", 9, [a], [b])
    assert [[task.name for task in phase] for phase in phases([one, two])] == [["one"], ["two"]]


def _meeting_program(rounds: int) -> Program:
    """Every thread adds 1 to its own counter, and after the barrier sees those of all: `wrong` counts when not."""
    b = Builder("run")
    counters = b.parameter("counters", I64, 64, "both")
    wrong = b.parameter("wrong", I64, 64, "both")
    b.scalar("n", I64)
    thread, threads = b.scalar("thread", I64), b.scalar("threads", I64)
    meeting = Buffer("meeting", I64, 1, "arena", "both", 64)
    with b.loop(rounds, "round") as number:
        b.store(counters, thread, load(counters, thread) + 1)
        b.barrier(meeting, threads)
        total = b.variable("total", constant(0, I64))
        with b.loop(threads, "other") as other:
            b.assign(total, total + load(counters, other))
        with b.when(total < (number + 1) * threads):
            b.store(wrong, thread, load(wrong, thread) + 1)
        b.barrier(meeting, threads)
    return Program("meet", (), b.function(), (counters,), (wrong,), 64)


def test_threads_wait_for_each_other() -> None:
    import ctypes

    import llvmlite.binding as llvm

    from bnnc.backends.llvm.codegen import optimised, target_machine
    from bnnc.backends.llvm.host import native_machine
    from bnnc.backends.llvm.jit import aligned
    from bnnc.backends.llvm.training import pause_address

    program = _meeting_program(2000)
    target = target_machine(native_machine(), jit=True)
    compiler = llvm.create_lljit_compiler(target)
    library = llvm.JITLibraryBuilder()
    library.add_object_img(bytes(target.emit_object(optimised(print_llvm(program), target))))
    library.import_symbol("bnnc_pause", pause_address()).export_symbol("meet_run")
    tracker = library.link(compiler, "meet")
    run = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 3, ctypes.c_void_p)(
        tracker["meet_run"]
    )
    for threads in (1, 2, 3):
        counters, wrong, arena = aligned(64, np.int64), aligned(64, np.int64), aligned(64)
        places = (counters.ctypes.data, wrong.ctypes.data, 0)
        each = [
            threading.Thread(target=run, args=(*places, thread, threads, arena.ctypes.data))
            for thread in range(threads)
        ]
        for one in each:
            one.start()
        for one in each:
            one.join()
        assert counters[:threads].tolist() == [2000] * threads
        assert not wrong.any()


def test_the_interpreter_meets_alone_and_the_text_shows_where() -> None:
    program = _meeting_program(3)
    verify_program(program)
    assert "barrier of threads threads" in print_program(program)
    counters, wrong = np.zeros(64, np.int64), np.zeros(64, np.int64)
    run_entry(program, [counters, wrong], [0, 0, 1], np.zeros(64, np.uint8))
    assert (counters[0], wrong[0]) == (3, 0)
    with pytest.raises(LoopError):
        run_entry(program, [counters, wrong], [0, 0, 2], np.zeros(64, np.uint8))
