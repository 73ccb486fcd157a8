"""The «loop» level: what cannot be written; and every operation means the same interpreted and compiled."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnc.backends.llvm.host import native_machine
from bnnc.backends.llvm.jit import JitProgram
from bnnc.loops import expressions
from bnnc.loops.builder import Builder, at
from bnnc.loops.ir import (
    F32,
    I1,
    I8,
    I16,
    I32,
    I64,
    NUMPY,
    Binary,
    Buffer,
    Call,
    Compare,
    Convert,
    Expression,
    Extract,
    Fma,
    Function,
    Gather,
    LaneIndex,
    Pack,
    PairProducts,
    Program,
    Reduce,
    Scalar,
    Select,
    Splat,
    Statement,
    Store,
    Unary,
    Unpack,
    Variable,
    compare,
    constant,
    constant_buffer,
    load,
    vector_of,
    with_element,
)
from bnnc.loops.text import print_program
from bnnc.loops.verify import LoopProgramError, verify_program
from bnnc.reference.loop import LoopError, run_program
from tests.kernels import program_of


def both(function: Function, *inputs: np.ndarray) -> list[np.ndarray]:
    """The outputs, after checking that the interpreter and this machine agree to the last bit (any NaN is a NaN)."""
    program = program_of(function)
    interpreted, native = run_program(program, inputs, 1), JitProgram(program, native_machine())(list(inputs), 1)
    for a, b in zip(interpreted, native, strict=True):
        if a.dtype == np.float32:
            a, b = (np.where(np.isnan(v), np.float32(np.nan), v).view(np.int32) for v in (a, b))
        assert np.array_equal(a, b), print_program(program)
    return interpreted


def apply(element: Scalar, lanes: int, make: Callable[..., Expression], *inputs: np.ndarray) -> np.ndarray:
    """make(values…) of vectors of the element, whatever the type of the result (I1 lanes are packed)."""
    b = Builder("one")
    type_ = vector_of(element, lanes)
    values = [b.let(load(b.parameter(f"x{i}", element, lanes), 0, type_)) for i in range(len(inputs))]
    result = make(*values)
    if result.type.element == I1:
        result = Pack((result,), I64)
    b.store(b.parameter("y", result.type.element, result.type.lanes, "write"), 0, result)
    return both(b.function(), *(x.astype(NUMPY[element]) for x in inputs))[0]


integers = st.sampled_from([I8, I16, I32, I64])
lane_counts = st.sampled_from([1, 2, 4, 8, 16])


def draw_numbers(data: st.DataObject, element: Scalar, lanes: int) -> np.ndarray:
    if element == F32:
        floats = st.one_of(
            st.floats(width=32), st.sampled_from([0.0, -0.0, 0.5, 1.5, -2.5, float("inf"), float("nan"), 2.0**31])
        )
        return np.array(data.draw(st.lists(floats, min_size=lanes, max_size=lanes)), np.float32)
    low, high = -(1 << (element.bits - 1)), (1 << (element.bits - 1)) - 1
    numbers = st.one_of(st.integers(low, high), st.sampled_from([low, high, 0, 1, -1]))
    return np.array(data.draw(st.lists(numbers, min_size=lanes, max_size=lanes)), NUMPY[element])


@settings(max_examples=8, deadline=None)
@given(integers, lane_counts, st.data())
@pytest.mark.parametrize("operator", expressions.BINARY_INTEGER)
def test_integer_operations(operator: str, element: Scalar, lanes: int, data: st.DataObject) -> None:
    a, b = draw_numbers(data, element, lanes), draw_numbers(data, element, lanes)
    if operator in ("shl", "lshr", "lshr_exact", "ashr"):
        b = b & (element.bits - 1)
    if operator == "lshr_exact":
        a = (a >> b) << b
    if operator in ("div", "rem", "udiv", "urem"):
        b = np.where((b == 0) | (b == -1), 7, b)
    apply(element, lanes, lambda x, y: Binary(operator, x, y), a, b)


@settings(max_examples=8, deadline=None)
@given(integers, lane_counts, st.data())
@pytest.mark.parametrize("operator", expressions.UNARY_INTEGER)
def test_integer_functions(operator: str, element: Scalar, lanes: int, data: st.DataObject) -> None:
    apply(element, lanes, lambda x: Unary(operator, x), draw_numbers(data, element, lanes))


@settings(max_examples=10, deadline=None)
@given(lane_counts, st.data())
@pytest.mark.parametrize("operator", [*expressions.BINARY_BOTH, "fma", *expressions.UNARY_FLOAT, "to_int"])
def test_float_operations(operator: str, lanes: int, data: st.DataObject) -> None:
    x, y, z = (draw_numbers(data, F32, lanes) for _ in range(3))
    if operator == "fma":
        apply(F32, lanes, Fma, x, y, z)
    elif operator == "to_int":
        apply(F32, lanes, lambda a: Convert("to_int", a, vector_of(I32, lanes)), x)
    elif operator in expressions.UNARY_FLOAT:
        apply(F32, lanes, lambda a: Unary(operator, a), x)
    else:
        apply(F32, lanes, lambda a, b: Binary(operator, a, b), x, y)


@settings(max_examples=8, deadline=None)
@given(st.sampled_from([I8, I32, I64, F32]), lane_counts, st.data())
@pytest.mark.parametrize("operator", expressions.COMPARE_INTEGER)
def test_comparisons_selections_and_packing(operator: str, element: Scalar, lanes: int, data: st.DataObject) -> None:
    operator = operator[1:] if element == F32 and operator[0] == "u" else operator
    x, y = draw_numbers(data, element, lanes), draw_numbers(data, element, lanes)
    y = np.where(np.arange(lanes) % 3 == 0, x, y)
    apply(element, lanes, lambda a, b: Compare(operator, a, b), x, y)
    apply(element, lanes, lambda a, b: Select(Compare(operator, a, b), a, b), x, y)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([I8, I16, I32, I64]), st.sampled_from([I8, I16, I32, I64, F32]), lane_counts, st.data())
def test_conversions(source: Scalar, target: Scalar, lanes: int, data: st.DataObject) -> None:
    x = draw_numbers(data, source, lanes)
    kinds = ["to_float"] if target == F32 else ["trunc"] if source.bits > target.bits else ["sext", "zext"]
    if source.bits == target.bits:
        kinds = ["bitcast"] if {source, target} == {I32, F32} else []
    for kind in kinds:
        apply(source, lanes, lambda a, kind=kind: Convert(kind, a, vector_of(target, lanes)), x)


@settings(max_examples=20, deadline=None)
@given(st.integers(-(2**63), 2**63 - 1), st.sampled_from([1, 2, 4, 8, 16, 32]))
def test_unpack_is_the_inverse_of_pack(word: int, lanes: int) -> None:
    got = apply(I64, 1, lambda w: Pack((Unpack(w, lanes), Unpack(w, lanes)), I64), np.array([word]))
    low = word & ((1 << lanes) - 1)
    assert int(got.view(np.uint64)[0]) == low | low << lanes


@pytest.mark.parametrize("operator", ["add", "and", "or", "xor", "min", "max", "umin", "umax"])
@pytest.mark.parametrize("lanes", [1, 4, 16])
def test_reductions_lanes_and_splats(operator: str, lanes: int) -> None:
    x = np.random.default_rng(lanes).integers(-(2**31), 2**31, lanes)
    apply(I32, lanes, lambda a: Reduce(operator, a), x)
    apply(I32, lanes, lambda a: Binary("add", Splat(Extract(a, lanes - 1), a.type), LaneIndex(a.type)), x)


def test_loops_branches_and_variables() -> None:
    b = Builder("collatz")
    x, y = b.parameter("x", I32, 8), b.parameter("y", I32, 8, "write")
    longest = b.parameter("longest", I32, 1, "write")
    best = b.variable("best", constant(0, I32))
    with b.loop(8, "i") as i:
        value, steps = b.variable("value", load(x, i)), b.variable("steps", constant(0, I32))
        with b.loop_while(value > 1):
            with b.when(compare("eq", value & 1, 0)):
                b.assign(value, Binary("lshr", value, constant(1, I32)))
            with b.otherwise():
                b.assign(value, value * 3 + 1)
            b.assign(steps, steps + 1)
        b.store(y, i, steps)
        with b.when(steps > best):
            b.assign(best, steps)
    b.store(longest, 0, best)
    counts, most = both(b.function(), np.arange(1, 9, dtype=np.int32))
    assert counts.tolist() == [0, 1, 7, 2, 5, 8, 16, 3]
    assert most.tolist() == [16]


@settings(max_examples=25, deadline=None)
@given(st.integers(-2, 5), st.integers(-2, 9), st.integers(1, 4))
def test_counted_loops_count_as_python_does(start: int, stop: int, step: int) -> None:
    for constant_bounds in (True, False):
        b = Builder("count")
        x, y = b.parameter("x", I32, 2), b.parameter("y", I32, 1, "write")
        total = b.variable("total", constant(1, I32))
        bounds = (
            (start, stop)
            if constant_bounds
            else tuple(b.let(Convert("sext", load(x, i), I64), f"bound{i}") for i in range(2))
        )
        with b.loop(bounds[1], "i", start=bounds[0], step=step) as i, b.loop(2, "j") as j:
            b.assign(total, total * 3 + Convert("trunc", i + j, I32))
        b.store(y, 0, total)
        wanted = 1
        for i_ in range(start, stop, step):
            for j_ in range(2):
                wanted = wanted * 3 + i_ + j_
        got = both(b.function(), np.array([start, stop], np.int32))[0]
        assert int(got[0]) == (wanted + 2**31) % 2**32 - 2**31


def test_calls_pass_parts_of_buffers_and_the_arena_holds_what_lies_between() -> None:
    b = Builder("double", comment="twice x plus a number")
    x, y, extra = b.parameter("x", I32, 4), b.parameter("y", I32, 4, "write"), b.scalar("extra", I32)
    type_ = vector_of(I32, 4)
    b.store(y, 0, load(x, 0, type_) * 2 + Splat(extra, type_))
    double = b.function()
    b = Builder("run")
    inputs, outputs = b.parameter("input", I32, 4), b.parameter("output", I32, 4, "write")
    n = b.scalar("n", I64)
    weights = constant_buffer("added", np.array([0, 0, 5, 9], np.int32))
    middle = Buffer("middle", I32, 4, "arena", "both", 64, offset=64)
    with b.loop(n, "sample") as sample:
        b.call(double, at(inputs, sample * 4), middle, load(weights, 2))
        b.call(double, middle, at(outputs, sample * 4), load(weights, 3))
    program = Program("net", (double,), b.function(), (inputs,), (outputs,), 80)
    x_ = np.arange(12, dtype=np.int32)
    wanted = (x_ * 2 + 5) * 2 + 9
    assert np.array_equal(run_program(program, [x_], 3)[0], wanted)
    jit = JitProgram(program, native_machine(), bench=True)
    assert np.array_equal(jit([x_], 3)[0], wanted)
    jit.repeat([x_], 3, 5)
    jit.repeat([x_], 3, 5, call=1)
    with pytest.raises(ValueError, match="4 x 2"):
        jit([x_], 2)
    with pytest.raises(ValueError, match="float32"):
        jit([x_.astype(np.float32)], 3)


def outside(b: Builder) -> None:
    b.store(b.parameter("y", I32, 4, "write"), 4, constant(1, I32))


def outside_by_a_vector(b: Builder) -> None:
    y = b.parameter("y", I32, 4, "write")
    b.store(y, 0, load(b.parameter("x", I32, 8), 5, vector_of(I32, 4)))


def misaligned(b: Builder) -> None:
    y = b.parameter("y", I32, 4, "write")
    b.store(y, 0, load(b.parameter("x", I32, 8), 2, vector_of(I32, 4), alignment=16))


@pytest.mark.parametrize("write", [outside, outside_by_a_vector, misaligned])
def test_the_interpreter_sees_bad_accesses(write: Callable[[Builder], None]) -> None:
    b = Builder("bad")
    write(b)
    function = b.function()
    program = program_of(function)
    with pytest.raises(LoopError):
        run_program(program, [np.zeros(buffer.length, np.int32) for buffer in program.inputs], 1)


def ill_typed(b: Builder) -> list[Callable[[], object]]:
    x, y = b.parameter("x", I32, 4), b.parameter("y", F32, 4, "write")
    word, number = load(x, 0), constant(1.0, F32)
    fixed = b.let(word)
    return [
        lambda: Binary("add", word, number),
        lambda: Binary("xor", number, number),
        lambda: Unary("popcount", number),
        lambda: load(x, 0, vector_of(F32, 4)),
        lambda: Convert("sext", word, I16),
        lambda: Convert("trunc", load(x, 0, vector_of(I32, 4)), I16),
        lambda: Select(word, word, word),
        lambda: Pack((word,), I32),
        lambda: Extract(load(x, 0, vector_of(I32, 4)), 4),
        lambda: Reduce("add", load(y, 0, vector_of(F32, 4))),
        lambda: constant(1.5, I32),
        lambda: b.store(y, 0, word),
        lambda: b.store(x, 0, word),
        lambda: b.assign(fixed, word),  # type: ignore[arg-type]
        lambda: word + number,
    ]


def test_ill_typed_code_cannot_be_written() -> None:
    makers = ill_typed(Builder("bad"))
    for number, make in enumerate(makers):
        try:
            made = make()
        except TypeError:
            continue
        pytest.fail(f"number {number} was accepted: {made}")


def test_index_arithmetic_on_constants_folds() -> None:
    b = Builder("fold")
    i = b.scalar("i", I64)
    assert i * 1 + 0 is i
    folded = constant(3, I64) * 4 + 5
    assert isinstance(folded, expressions.Constant)
    assert folded.value == 17
    assert with_element(vector_of(I32, 4), F32) == vector_of(F32, 4)


def test_the_text_shows_every_statement() -> None:
    b = Builder("shown", comment="what it does")
    x, y = b.parameter("x", I32, 8), b.parameter("y", I32, 8, "write")
    with b.loop(2, "i", step=1) as i, b.when(load(x, i) > 3):
        b.store(y, i * 4, load(x, i * 4, vector_of(I32, 4)) ^ 1)
    text = print_program(program_of(b.function()))
    assert "// what it does" in text
    assert "for i in 0 .. 2" in text
    assert "if x[i] > 3" in text
    assert "y[i * 4 :4] = x[i * 4 :4] ^ 1x4" in text


def test_a_wide_lane_becomes_narrow_ones_low_bits_first() -> None:
    got = apply(I32, 4, lambda a: Convert("bitcast", a, vector_of(I8, 16)), np.array([0x04030201, -1, 0, 0x7F]))
    assert got.tolist() == [1, 2, 3, 4, -1, -1, -1, -1, 0, 0, 0, 0, 127, 0, 0, 0]
    apply(I8, 16, lambda a: Convert("bitcast", a, vector_of(I64, 2)), np.arange(-8, 8))


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([2, 4, 8, 32]), st.data())
def test_pair_products(lanes: int, data: st.DataObject) -> None:
    x, y = draw_numbers(data, I16, lanes), draw_numbers(data, I16, lanes)
    got = apply(I16, lanes, PairProducts, x, y)
    products = x.astype(np.int64) * y
    assert np.array_equal(got, (products[0::2] + products[1::2]).astype(np.int32))


@settings(max_examples=10, deadline=None)
@given(lane_counts, st.sampled_from([I8, I32]), st.data())
def test_gather(lanes: int, element: Scalar, data: st.DataObject) -> None:
    table = draw_numbers(data, element, 40)
    places = np.array(data.draw(st.lists(st.integers(0, 30), min_size=lanes, max_size=lanes)))
    b = Builder("one")
    from_, which = b.parameter("t", element, 40), b.parameter("k", I32, lanes)
    value = Gather(from_, constant(9, I64), load(which, 0, vector_of(I32, lanes)))
    b.store(b.parameter("y", element, lanes, "write"), 0, value)
    assert np.array_equal(both(b.function(), table, places.astype(np.int32))[0], table[places + 9])
    with pytest.raises(LoopError, match="leaves its 40"):
        run_program(program_of(b.function()), [table, np.full(lanes, 31, np.int32)], 1)


def broken(kind: str) -> Program:
    x, y = Buffer("x", I32, 4), Buffer("y", I32, 4, access="write")
    n, loose = Variable("n", I64), Variable("loose", I32)
    middle = Buffer("middle", I32, 8, "arena", "both", 64, offset=64)
    helper = Function(
        "helper", (y_ := Buffer("y", I32, 4, access="write"),), (Store(y_, constant(0, I64), load(y, 0)),)
    )
    bodies: dict[str, Statement] = {
        "is no identifier": Store(y, constant(0, I64), load(constant_buffer("a b", np.zeros(1, np.int32)), 0)),
        "read before": Store(y, constant(0, I64), loose),
        "leaves the arena": Store(middle, constant(0, I64), constant(1, I32)),
        "another function": Store(y, constant(0, I64), load(Buffer("z", I32, 4), 0)),
        "before it is listed": Call(helper, (at(y),)),
        "only read": Store(x, constant(0, I64), constant(1, I32)),
        "takes the inputs": Store(y, constant(0, I64), constant(1, I32)),
    }
    parameters = (x, y) if kind == "takes the inputs" else (x, y, n)
    return Program("net", (), Function("run", parameters, (bodies[kind],)), (x,), (y,), 64)


@pytest.mark.parametrize(
    "message",
    [
        "is no identifier",
        "read before",
        "leaves the arena",
        "another function",
        "before it is listed",
        "only read",
        "takes the inputs",
    ],
)
def test_broken_programs_are_refused(message: str) -> None:
    with pytest.raises(LoopProgramError, match=message):
        verify_program(broken(message))
