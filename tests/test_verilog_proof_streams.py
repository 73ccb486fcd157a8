"""Proofs of whole circuits from their text: they hold for what is emitted, and no changed word or parameter passes."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bnnc.backends.verilog.backend import VerilogOptions, packaged
from bnnc.backends.verilog.design import Memory
from bnnc.backends.verilog.package import Package, bench_files, circuit_files, golden_files
from bnnc.backends.verilog.proof.blocks import blocks_of
from bnnc.backends.verilog.proof.reader import Unreadable
from bnnc.backends.verilog.proof.streams import LIBRARY, prove_streams
from bnnc.backends.verilog.proof.top import read_top
from bnnc.backends.verilog.proof.unrolled import Refuted
from bnnc.diagnostics import BnncError
from bnnc.ir import bit, fixed, move
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, Code, Fix, Int, Trit
from tests.circuits import bench, built
from tests.fixed_networks import fixed_modules
from tests.strategies import bit_modules
from tests.test_verilog_networks import residual
from tests.test_verilog_unrolled import pictures
from tests.verilog import RTL, needs_iverilog

relaxed = settings(deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def emitted(module: Module, **options: Any) -> tuple[Package, dict[str, str]]:
    """A circuit and its files. Raises BnncError B0622 where there is no engine."""
    package = packaged(module, VerilogOptions(**options))
    return package, circuit_files(package)


def proven(module: Module, unroll: str) -> None:
    """The circuit of a random network is proven, op by op, unless it is refused (there is no such layer, or engine)."""
    try:
        package, files = emitted(module, unroll=unroll)
    except BnncError as reason:
        if reason.diagnostics[0].code not in ("B0621", "B0622"):
            raise
        return
    shown = [one.op for one in prove_streams(package, files)]
    constants: set[Op] = set()
    for op in package.boundary.ops:
        if all(x in constants for x in op.operands):
            constants.add(op)
        elif not isinstance(op, move.MOVES):
            assert op in shown


@given(bit_modules(9), st.sampled_from(["", "all", "1"]))
@settings(relaxed, max_examples=40)
def test_random_networks_of_bits_and_integers_are_proven(module: Module, unroll: str) -> None:
    proven(module, unroll)


@given(fixed_modules(7))
@settings(relaxed, max_examples=25)
def test_random_fixed_point_networks_are_proven(module: Module) -> None:
    proven(module, "")


@pytest.mark.slow
@given(st.one_of(bit_modules(16), fixed_modules(10)), st.sampled_from(["", "all"]))
@settings(relaxed, max_examples=800)
def test_many_random_networks_are_proven(module: Module, unroll: str) -> None:
    proven(module, unroll)


def signal(rng: np.random.Generator) -> Module:
    """One axis, odd sizes, 2-bit codes, a grouped layer of integer weights, a pool of sums."""
    x = Input("x", Int(-128, 127), (3, 19))
    first = bit.Conv(x, rng.choice(np.array([-1, 1], np.int8), (7, 3, 5)), (2,), (2, 1), (2,), 1, 0)
    steps = np.sort(rng.integers(-200, 200, (7, 3)), 1).astype(np.int32)
    codes = bit.Step(first, steps, np.tile(np.array([-3, -1, 1, 3], np.int32), (7, 1)), Code(2, 2, -3))
    second = bit.Conv(codes, rng.integers(-3, 4, (14, 1, 3)).astype(np.int8), (1,), (1, 1), (1,), 7, 0)
    return Module("signal", (x,), (Output("y", bit.Pool(second, "sum", (3,), (3,), (1, 1), (1,)), "int64"),))


def joined(rng: np.random.Generator) -> Module:
    """A residual in fixed point: an exact layer, lines of its channels, a gate by a curve, a pool, constants."""
    x = Input("x", Bit(), (3, 5, 4))
    q = Fix(20, 12)
    weights = rng.integers(-900, 900, (4, 3, 3, 3)).astype(np.int32)
    bias = rng.integers(-(2**20), 2**20, 4)
    conv = fixed.Conv(x, weights, bias, (1, 1), (1, 1, 1, 1), (1, 1), 1, 3, q)
    slopes = rng.integers(-2000, 2000, (4, 2)).astype(np.int32)
    lines = fixed.Map(conv, np.zeros((4, 1), np.int32), slopes, rng.integers(-(2**18), 2**18, (4, 2)), 9, q)
    gate = fixed.Table(lines, rng.integers(0, 4096, 9).astype(np.int32), -4096, 10, q)
    scale = fixed.Constant(rng.integers(-5000, 5000, (4, 1, 1)).astype(np.int32), q)
    total = fixed.Add((fixed.Mul(conv, gate, q), lines, scale), (1, -1, 1), q)
    small = fixed.Pool(total, (2, 2), (2, 2), (0,) * 4, (1, 1), True, 341, 10, q)
    flat = move.Reshape(small, (small.type.size,))
    head = fixed.Dense(flat, rng.integers(-50, 50, (3, flat.type.size)).astype(np.int32), np.zeros(3, np.int64), 2, q)
    return Module("joined", (x,), (Output("y", head),))


def moved(rng: np.random.Generator) -> Module:
    """Channels cut, padded, turned and joined between layers, and pools of either extreme."""
    x = Input("x", Bit(), (4, 6, 3))
    turned = move.Gather(move.Transpose(x, (0, 2, 1)), np.array([3, 1, 0, 1]), 0)
    edges = move.Pad(turned, (0, 1, 0, 0, 1, 2), 1.0)
    conv = bit.Conv(edges, rng.choice(np.array([-1, 1], np.int8), (6, 2, 2, 3)), (1, 2), (0,) * 4, (2, 1), 2, -1)
    step = bit.Step(conv, rng.integers(-4, 5, (6, 1)).astype(np.int32), np.array([[-1, 1]] * 6, np.int32), Bit())
    pool = bit.Pool(step, "max", (2, 2), (1, 1), (1, 0, 0, 1), (1, 1), smallest=rng.random(6) < 0.5)
    both = move.Concat((pool, move.Slice(pool, (5, 0, 0), (2, *pool.type.shape[1:]), (-2, 1, 1))), 0)
    flat = move.Reshape(both, (both.type.size,))
    return Module(
        "moved", (x,), (Output("y", bit.Dense(flat, rng.integers(-1, 2, (5, flat.type.size)).astype(np.int8))),)
    )


MAKERS: dict[str, Callable[[], Module]] = {
    "residual": lambda: residual(Trit(), seed=2),
    "pixels": lambda: residual(Int(0, 255), channels=5, side=5, seed=3),
    "signal": lambda: signal(np.random.default_rng(4)),
    "joined": lambda: joined(np.random.default_rng(5)),
    "moved": lambda: moved(np.random.default_rng(6)),
    "pictures": lambda: pictures(np.random.default_rng(7)),
}


def changed(
    package: Package, files: dict[str, str], rng: np.random.Generator, count: int
) -> Iterator[tuple[str, str, str]]:
    """(what, path, text): a bit of a word flipped, two words exchanged, a word more or less, a parameter changed."""
    top = f"rtl/{package.design.name}.v"
    memories = sorted(path for path in files if path.startswith("mem/"))
    widths = {f"mem/{m.name}.mem": m.width for e in package.design.engines for m in e.memories if isinstance(m, Memory)}
    places = list(re.finditer(r"\.([A-Z_0-9]+)\((-?\d+)\)", files[top]))
    for number in range(count):
        if number % 2 and memories:
            path = str(rng.choice(memories))
            head, *words = files[path].splitlines()
            at, other = (int(n) for n in rng.integers(0, len(words), 2))
            if number % 8 == 1 and words[at] != words[other]:
                words[at], words[other] = words[other], words[at]
                what = f"words {at} and {other}"
            elif number % 8 == 3:
                words = [*words, words[at]] if rng.random() < 0.5 else words[:-1]
                what = "number of words"
            else:
                place = int(rng.integers(widths[path]))
                words[at] = f"{int(words[at], 16) ^ (1 << place):0{len(words[at])}x}"
                what = f"bit {place} of word {at}"
            yield f"{path}: {what}", path, "\n".join([head, *words]) + "\n"
        else:
            match = places[int(rng.integers(len(places)))]
            value = int(match[2]) + int(rng.choice([-2, -1, 1, 2, 7]))
            text = f"{files[top][: match.start()]}.{match[1]}({value}){files[top][match.end() :]}"
            yield f"{match[1]}={match[2]} became {value}", top, text


# A memory's style, and more room in a buffer, change nothing that comes out.
HARMLESS = ("ROM_STYLE=", "DEPTH=")


@pytest.mark.parametrize("name", MAKERS)
def test_a_changed_word_or_parameter_is_refuted(name: str, tmp_path: Path) -> None:
    package, files = emitted(MAKERS[name]())
    prove_streams(package, files)
    accepted = []
    count = 40
    for what, path, text in changed(package, files, np.random.default_rng(11), count):
        if not refuted(package, {**files, path: text}) and not what.startswith(HARMLESS):
            accepted.append((what, path, text))
    assert len(accepted) < count / 6, [what for what, *_ in accepted]
    for what, path, text in accepted[:2]:
        assert simulated(package, {**files, path: text}), what


def refuted(package: Package, files: dict[str, str]) -> bool:
    """Whether the proof fails."""
    try:
        prove_streams(package, files)
    except Refuted as reason:
        return bool(reason.where)
    return False


def simulated(package: Package, files: dict[str, str]) -> bool:
    """Whether the golden vectors still pass (or nothing is here to simulate them)."""
    if needs_iverilog.args[0]:
        return True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, text in {**bench_files(package), **golden_files(package), **files}.items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(text)
        built(folder)
        return bench(folder).startswith("PASS")


@pytest.mark.parametrize(
    ("name", "parameter", "layer"),
    [
        ("pixels", "PAD_TOP", "conv"),
        ("moved", "STRIDE_W", "conv"),
        ("moved", "DILATION_H", "conv"),
        ("moved", "SMALLEST", "pool"),
        ("signal", "PAD_VALUE", "conv"),
        ("pictures", "FLAGS", "conv"),
        ("joined", "SHIFT", "conv"),
    ],
)
def test_the_layer_of_a_changed_parameter_is_named(name: str, parameter: str, layer: str) -> None:
    package, files = emitted(MAKERS[name]())
    top = f"rtl/{package.design.name}.v"
    match = re.search(rf"\.{parameter}\((\d+'h)?([0-9a-f]+)\)", files[top])
    assert match is not None
    text = files[top].replace(match[0], f".{parameter}({match[1] or ''}{int(match[2], 16) ^ 1:x})", 1)
    with pytest.raises(Refuted) as caught:
        prove_streams(package, {**files, top: text})
    assert layer in caught.value.where


@pytest.mark.parametrize(("factor", "shift"), [(1 << 45, 28), (3 << 33, 35), (-(1 << 33), 20), (5, 3)])
def test_pools_whose_factor_shares_powers_of_two_with_the_shift_are_proven(factor: int, shift: int) -> None:
    x = Input("x", Int(-6120, 5865), (2, 4, 4))
    pool = fixed.Pool(x, (2, 2), (2, 2), (0,) * 4, (1, 1), False, factor, shift, Fix(15, 17))
    package, files = emitted(Module("pool", (x,), (Output("y", fixed.Decode(pool)),)))
    assert pool in [one.op for one in prove_streams(package, files)]
    name = f"rtl/{package.design.name}.v"
    files[name] = re.sub(r"\.SHIFT\((-?\d+)\)", lambda found: f".SHIFT({int(found[1]) - 1})", files[name])
    with pytest.raises(Refuted):
        prove_streams(package, files)


def test_layers_that_work_bit_by_bit_are_proven() -> None:
    rng = np.random.default_rng(8)
    x = Input("x", Int(0, 255), (3, 5, 4))
    conv = bit.Conv(x, rng.choice(np.array([-1, 1], np.int8), (6, 3, 3, 3)), (1, 1), (1,) * 4, (1, 1), 1, 0)
    package, files = emitted(Module("pixels", (x,), (Output("y", conv, "int64"),)), serial="all", simd="3", pe="2")
    (shown,) = prove_streams(package, files)
    assert {"bnnc_planes", "bnnc_mvu_serial"} <= set(shown.modules)
    assert blocks_of(package.design.name, files)
    (path,) = shown.memories
    head, first, *words = files[path].splitlines()
    for place in range(4 * len(first)):
        text = f"{int(first, 16) ^ (1 << place):0{len(first)}x}"
        assert refuted(package, {**files, path: "\n".join([head, text, *words])})


def test_streams_that_are_crossed_or_cut_are_refuted() -> None:
    package, files = emitted(MAKERS["residual"]())
    top = f"rtl/{package.design.name}.v"
    text = files[top]
    wires = re.findall(r"\.in_(?:data|valid|ready)\((\w+)\)", text)
    changes = [
        ("wire rst = !aresetn;", "wire rst = aresetn;"),
        (".rst(rst)", ".rst(aclk)"),
        (f"({wires[1]})", f"({wires[5]})"),
        ("tlast == ", "tlast != "),
        ("endmodule", "  assign spare = aclk;\nendmodule"),
        ("endmodule", "  initial rst = 0;\nendmodule"),
        ("_tready = ", "_tready = 1'b1 || "),
        (" : m_axis_beat + 1'b1", " : m_axis_beat + 2'b1"),
    ]
    for before, after in changes:
        if before in text:
            with pytest.raises(Refuted):
                prove_streams(package, {**files, top: text.replace(before, after, 1)})
    with pytest.raises(Refuted):
        prove_streams(package, {path: text for path, text in files.items() if not path.startswith("mem/")})
    assert sum(before in text for before, _ in changes) >= 6


def test_every_engine_of_the_library_has_a_meaning() -> None:
    engines = {
        path.stem for path in RTL.glob("*.v") if re.search(r"\bin_ready|\ba_ready|\bout_ready", path.read_text())
    }
    inner = {"bnnc_accumulate", "bnnc_folds", "bnnc_pipeline", "bnnc_valid"}
    assert engines - inner == set(LIBRARY)


@pytest.mark.parametrize(
    "text", ["module a (input wire aclk); assign = 1; endmodule", "module a (", "garbage", "`include"]
)
def test_a_text_that_is_no_top_is_an_error(text: str) -> None:
    with pytest.raises(Unreadable):
        read_top(text)
