"""The text form gives back what was printed, and says what is wrong with text that is no module."""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bnnc.diagnostics import BnncError
from bnnc.ir import bit, nn
from bnnc.ir.location import Location
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.syntax import attribute_fields, operand_fields, quote, show_array
from bnnc.ir.text import arrays, parse_module, print_module
from bnnc.ir.types import F32, Bit
from bnnc.ir.vocabulary import OPS
from bnnc.reference import run as reference
from tests.strategies import modules, random_inputs

RELAXED = settings(deadline=None, max_examples=80, suppress_health_check=list(HealthCheck))


def assert_same(a: Module, b: Module) -> None:
    """Field by field, op by op, array by array."""
    assert (a.name, a.notes, a.pixels, a.facts) == (b.name, b.notes, b.pixels, b.facts)
    mine, yours = a.ops(), b.ops()
    number = {op: i for i, op in enumerate(mine)} | {op: i for i, op in enumerate(yours)}
    assert len(mine) == len(yours)
    for x, y in zip(mine, yours, strict=True):
        assert type(x) is type(y)
        assert (x.type, x.loc) == (y.type, y.loc)
        assert [number[o] for o in x.operands] == [number[o] for o in y.operands]
        for (name, value), other in zip(x.attributes().items(), y.attributes().values(), strict=True):
            if isinstance(value, np.ndarray):
                assert value.dtype == other.dtype
                assert value.shape == other.shape
                assert value.tobytes() == other.tobytes()
            else:
                assert value == other, name
    assert [number[op] for op in a.inputs] == [number[op] for op in b.inputs]
    for left, right in zip(a.outputs, b.outputs, strict=True):
        assert number[left.value] == number[right.value]
        assert dataclasses.replace(left, value=right.value) == right


@RELAXED
@given(modules())
def test_nothing_is_lost(module: Module) -> None:
    text, stored = print_module(module), arrays(module)
    parsed = parse_module(text, stored)
    assert_same(module, parsed)
    assert print_module(parsed) == text
    assert list(arrays(parsed)) == list(stored)


@RELAXED
@given(modules(), st.integers(0, 9))
def test_what_was_parsed_computes_the_same(module: Module, seed: int) -> None:
    inputs = random_inputs(module, seed, 2)
    before, after = (
        reference.run(module, inputs),
        reference.run(parse_module(print_module(module), arrays(module)), inputs),
    )
    for name, value in before.items():
        np.testing.assert_array_equal(value, after[name])


@given(st.text())
def test_any_string_is_one_line_of_utf8(text: str) -> None:
    quoted = quote(text)
    assert len(quoted.splitlines()) == 1
    quoted.encode()
    x = Input(name=text, dtype=F32(), shape=(1,), loc=Location(text, text, 1, 2))
    module = Module(text, (x,), (Output(text, x),), facts=((text, text),))
    assert_same(module, parse_module(print_module(module), {}))


@given(st.lists(st.floats(width=32, allow_nan=False), max_size=4))
def test_a_few_floats_are_printed_exactly(values: list[float]) -> None:
    array = np.array(values, np.float32)
    if not array.size:
        return
    constant = nn.Constant(values=array)
    module = Module("m", (), (Output("y", constant),))
    text = print_module(module)
    assert show_array(array) in text
    assert_same(module, parse_module(text, {}))


def test_every_field_of_every_op_has_a_syntax() -> None:
    known = {"str", "bool", "int", "float", "tuple[int, ...]", "DType", "np.ndarray", "np.ndarray | None"}
    for cls in OPS.values():
        assert {kind for _, kind in attribute_fields(cls)} <= known
        slots = operand_fields(cls)
        assert all(kind != "many" for _, kind in slots) or len(slots) == 1


def small() -> Module:
    x = Input(name="x", dtype=Bit(), shape=(8,), loc=Location("input"))
    dense = bit.Dense(x=x, weights=np.ones((3, 8), np.int8), loc=Location("fc1", "net.onnx", 3, 4))
    total = nn.Map(
        function="add", xs=(bit.Decode(x=dense), nn.Constant(values=np.array([0.5, -0.0, 1e-45], np.float32)))
    )
    return Module("net", (x,), (Output("y", total),))


def test_the_text_reads_as_documented() -> None:
    assert print_module(small()).splitlines() == [
        'module "net"',
        '%0 = input {name="x", dtype=bit, shape=[8]} : bit[8] loc("input")',
        "%1 = bit.dense %0 {weights=#" + next(iter(arrays(small()))) + '} : int<-8,8>[3] loc("fc1", "net.onnx", 3, 4)',
        "%2 = bit.decode %1 : f32[3]",
        "%3 = nn.constant {values=float32[3](0.5, -0.0, 1e-45)} : f32[3]",
        "%4 = nn.add %2, %3 : f32[3]",
        'output %4 {name="y", storage="float32", batch_axis=0}',
    ]


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("bit.dense", "bit.danse", 3, "no op `bit.danse`"),
        ("%1 = bit", "%7 = bit", 3, "expected %1"),
        ("nn.add %2, %3", "nn.add %2, %9", 6, "not a value above"),
        ("nn.add %2, %3", "nn.add %2", 6, "takes 2 operands"),
        ("nn.add %2, %3", "nn.map %2, %3", 6, "no op"),
        ("bit.decode %1", "bit.decode", 4, "takes 1 operands"),
        ("bit.decode %1", "bit.decode none", 4, "cannot do without"),
        ("int<-8,8>[3]", "int<-8,9>[3]", 3, "gives int<-8,8>[3]"),
        ("bit[8]", "bot[8]", 2, "not a dtype"),
        ("bit[8]", "code<99999999,1,0>[8]", 2, "more bits"),
        ("shape=[8]", "shape=[99999999999999]", 2, ""),
        ("shape=[8]", "shape=[0]", 2, "empty shape"),
        ("shape=[8]", "shape=[-8]", 2, "empty shape"),
        ("shape=[8]", "shape=[8.5]", 2, "not an integer"),
        ("shape=[8]", "shape=[" + "1, " * 70000 + "8]", 2, "too long"),
        ("shape=[8]", 'shape="8"', 2, "expected `[`"),
        ('name="x"', 'nome="x"', 2, "expected `name`"),
        ('name="x"', 'name="\\q"', 2, "string"),
        ("float32[3]", "float32[2]", 5, "do not fill"),
        ("float32[3]", "float64[3]", 5, "not the dtype"),
        ("float32[3](0.5, -0.0, 1e-45)", "int8[3](1, 2, 300)", 5, "leaves int8"),
        ("float32[3](0.5, -0.0, 1e-45)", "int8[3](1, 2, 3)", 5, "float32"),
        ("float32[3](0.5", "float32[3](half", 5, "expected"),
        ("weights=#", "weights=#0", 3, "no array"),
        ("batch_axis=0", "batch_axis=2", 7, "batch axis"),
        ('storage="float32"', 'storage="object"', 7, "number format"),
        ("output %4", "outputs %4", 7, "unexpected"),
        ("loc(", "lac(", 2, "expected"),
        (": f32[3]\noutput", ": f32[3] ; x\noutput", 6, "cannot read"),
        ('module "net"', "", 0, "no `module` line"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(old: str, new: str, line: int, words: str) -> None:
    text = print_module(small())
    assert old in text
    with pytest.raises(BnncError) as caught:
        parse_module(text.replace(old, new, 1), arrays(small()), "net.bnnm")
    [found] = caught.value.diagnostics
    assert found.code == "B0423"
    assert "`net.bnnm`" in found.message
    assert words in found.message
    assert found.places[0].line == line


def test_a_module_needs_an_output_and_distinct_names() -> None:
    text = print_module(small())
    output = text.splitlines()[-1]
    for broken in (text.replace(output + "\n", ""), text + output + "\n"):
        with pytest.raises(BnncError):
            parse_module(broken, arrays(small()))


@RELAXED
@given(modules(most=3), st.data())
def test_damaged_text_never_gives_a_traceback(module: Module, data: st.DataObject) -> None:
    text = print_module(module)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(text)))
        insert = data.draw(
            st.sampled_from(["", "9", "-", "%", '"', "[", "]", ",", "1e9", "nan", "none", "\n", "\x00", "99999"])
        )
        text = text[:place] + insert + text[place + data.draw(st.integers(0, 3)) :]
    with contextlib.suppress(BnncError):
        parse_module(text, arrays(module))
