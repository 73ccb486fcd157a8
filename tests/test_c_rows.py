"""Networks worked on row by row: the same bits as the reference, whatever is cut, joined or repeated; nothing beyond
the arena, which the sanitizer watches; an image that comes row by row."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.microcontrollers import small_cifar
from bnnc.backends.c import Backend
from bnnc.cli.compile import check_budgets
from bnnc.config import Config
from bnnc.diagnostics import BnncError, Exit
from bnnc.ir import bit, move
from bnnc.ir.location import Location
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op, TypeRuleError
from bnnc.ir.types import Bit, Int
from bnnc.loops.lower.network import lower
from bnnc.loops.machine import CONTROLLERS
from tests.c_code import SANITIZERS, build, needs_gcc, run

MACHINES = ("cortex-m4", "cortex-m0", "avr", "generic-c", "rv32imac_zbb", "cortex-m55")


class Growing:
    """A random network: a list of tensors, to which layers are added that read any of them."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        flat = self.rng.random() < 0.2
        channels = int(self.rng.choice([1, 2, 3, 3]))
        sizes = (int(self.rng.integers(6, 20)),) if flat else tuple(int(n) for n in self.rng.integers(5, 12, 2))
        pixels = self.rng.random() < 0.6
        self.input = Input("image", Int(0, 255) if pixels else Bit(), (channels, *sizes))
        self.axes = len(sizes)
        self.bits: list[Op] = [] if pixels else [self.input]
        self.sums: list[Op] = []
        self._layer(self.input)

    def step(self, sums: Op) -> Op:
        """Signs of sums, rising and falling, some of them fixed."""
        outputs = sums.type.shape[0]
        spread = 400 if isinstance(sums, bit.Conv) and sums.x is self.input and not self.bits else 8
        thresholds = self.rng.integers(-spread, spread + 1, (outputs, 1)).astype(np.int32)
        pairs = np.array([[-1, 1], [1, -1], [1, 1], [-1, -1]], np.int32)
        return bit.Step(sums, thresholds, pairs[self.rng.choice(4, outputs, p=[0.6, 0.3, 0.05, 0.05])], Bit())

    def _layer(self, x: Op) -> None:
        rng, channels = self.rng, x.type.shape[0]
        groups = channels if channels > 1 and rng.random() < 0.15 else 1
        outputs = groups * int(rng.integers(1, 4)) if groups > 1 else int(rng.choice([5, 8, 16, 32, 33, 64]))
        kernel = tuple(int(n) for n in rng.integers(1, 4, self.axes))
        strides = tuple(int(n) for n in rng.choice([1, 1, 2, 3], self.axes))
        dilations = tuple(int(n) for n in rng.choice([1, 1, 1, 2], self.axes))
        pads = tuple(int(n) for n in rng.integers(0, 3, 2 * self.axes)) if rng.random() < 0.7 else (0,) * 2 * self.axes
        value = 0 if x is self.input and not self.bits else int(rng.choice([-1, 0, 1]))
        weights = rng.choice([-1, 1], (outputs, channels // groups, *kernel)).astype(np.int8)
        name = Location(f"conv{len(self.bits)}")
        conv = bit.Conv(x, weights, strides, pads, dilations, groups, value if any(pads) else 0, loc=name)
        step = self.step(conv)
        if rng.random() < 0.3:
            self.sums.append(conv)
        self.bits.append(step)

    def _pool(self, x: Op) -> None:
        rng = self.rng
        kernel = tuple(int(n) for n in rng.integers(1, 4, self.axes))
        strides = kernel if rng.random() < 0.6 else tuple(int(n) for n in rng.integers(1, 4, self.axes))
        pads = tuple(int(n) for n in rng.integers(0, 2, 2 * self.axes)) if rng.random() < 0.3 else (0,) * 2 * self.axes
        if any(pads[a] >= kernel[a % self.axes] for a in range(2 * self.axes)):
            pads = (0,) * 2 * self.axes
        least = rng.random(x.type.shape[0]) < 0.3 if rng.random() < 0.5 else None
        ceil = bool(rng.random() < 0.3)
        self.bits.append(bit.Pool(x, "max", kernel, strides, pads, (1,) * self.axes, ceil, least))

    def grow(self) -> None:
        """One more op; nothing where it would not fit."""
        x = self.bits[int(self.rng.integers(max(0, len(self.bits) - 2), len(self.bits)))]
        kind = self.rng.random()
        same = [y for y in self.bits if y is not x and y.type.shape == x.type.shape]
        alike = [y for y in self.bits if y is not x and y.type.shape[1:] == x.type.shape[1:]]
        try:
            if kind < 0.25:
                self._pool(x)
            elif kind < 0.4 and same:
                self.bits.append(self.step(bit.Add((x, same[-1]), (1, int(self.rng.choice([1, 2]))))))
            elif kind < 0.5 and alike:
                self.bits.append(move.Concat((x, alike[-1]), 0))
            else:
                self._layer(x)
        except TypeRuleError:
            return

    def module(self, ops: int) -> Module:
        """The network of so many more ops, with a head of integers or the last tensor as its output."""
        for _ in range(ops):
            self.grow()
        last = self.bits[-1]
        if self.rng.random() < 0.7:
            size = last.type.size
            last = bit.Dense(move.Reshape(last, (size,)), self.rng.choice([-1, 1], (5, size)).astype(np.int8))
        outputs = [Output("y", last, "int32")]
        if self.sums and self.rng.random() < 0.3:
            outputs.append(Output("z", self.sums[-1], "int32"))
        return Module("net", (self.input,), tuple(outputs))


def proven(module: Module, machine: str, layout: str, folder: Path) -> dict[str, str]:
    """The files, after their self-test of both forms passed under the sanitizers."""
    options = Backend.Options(machine=machine, input_layout=layout, name="net")
    files = Backend().emit(module, options).files
    # Sanitized, gcc 12 warns of conversions that are none.
    code, said = run(build(files, folder, "-O1", *SANITIZERS, "-Wno-sign-conversion"))
    assert code == 0, (machine, layout, said)
    return {name: content.decode() for name, content in files.items()}


def macro(header: str, name: str) -> int:
    """The number that a macro stands for."""
    found = re.search(rf"^#define NET_{name} (\d+)u", header, re.M)
    assert found is not None, name
    return int(found[1])


@needs_gcc
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**31), ops=st.integers(0, 6))
def test_any_network_on_any_machine(seed: int, ops: int, tmp_path: Path) -> None:
    module = Growing(seed).module(ops)
    machine = MACHINES[seed // 2 % len(MACHINES)]
    proven(module, machine, "hwc" if seed % 2 else "chw", tmp_path)


@needs_gcc
@pytest.mark.slow
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**31), ops=st.integers(0, 9), layout=st.sampled_from(["chw", "hwc"]))
def test_many_networks_on_all_machines(seed: int, ops: int, layout: str, tmp_path: Path) -> None:
    module = Growing(seed).module(ops)
    for machine in MACHINES:
        proven(module, machine, layout, tmp_path)


ABORTS = """
#include <stdio.h>
#include "net.h"
static uint32_t arena[NET_ROWS_ARENA_WORDS];
static uint32_t asked;
static int give(void *context, uint32_t row, uint8_t target[]) {
    uint32_t i;
    if (row != asked++) {
        return 2;
    }
    for (i = 0; i < NET_ROW_BYTES; ++i) {
        target[i] = 7u;
    }
    return row == *(uint32_t *)context;
}
int main(void) {
    static int32_t out[NET_OUTPUT_LEN];
    uint32_t last = 9u;
    int first = net_run_rows(give, &last, out, arena);
    uint32_t rows = asked;
    int second;
    asked = 0u;
    last = 1000u;
    second = net_run_rows(give, &last, out, arena);
    printf("%d %u %d %u\\n", first, (unsigned)rows, second, (unsigned)asked);
    return 0;
}
"""


@needs_gcc
@pytest.mark.parametrize("layout", ["hwc", "chw"])
def test_rows_are_asked_for_once_and_in_order_and_a_run_can_be_ended(layout: str, tmp_path: Path) -> None:
    options = Backend.Options(machine="cortex-m4", input_layout=layout, name="net")
    files = dict(Backend().emit(small_cifar(), options).files)
    files["net_selftest.c"] = ABORTS.encode()
    code, said = run(build(files, tmp_path, "-O1", *SANITIZERS))
    assert (code, said.split()) == (0, ["1", "10", "0", "32"])
    header = files["net.h"].decode()
    assert macro(header, "ROWS") == 32
    assert macro(header, "ROW_BYTES") == 96
    # The image is never in memory: what rows take beyond a run is less than two of them.
    assert macro(header, "ROWS_ARENA_WORDS") * 4 - macro(header, "ARENA_WORDS") * 4 < 2 * 96
    assert macro(header, "ROWS_ARENA_WORDS") * 4 < 6 * 1024


def test_only_a_few_rows_of_a_tall_image_are_kept() -> None:
    """Twice as many rows take no more memory, where nothing needs the whole."""
    sizes = []
    for height in (64, 128):
        rng = np.random.default_rng(0)
        image = Input("image", Int(0, 255), (1, height, 20))
        value: Op = image
        for outputs in (16, 16, 16):
            weights = rng.choice([-1, 1], (outputs, value.type.shape[0], 3, 3)).astype(np.int8)
            conv = bit.Conv(value, weights, (1, 1), (1, 1, 1, 1), (1, 1), 1, 0)
            table = np.tile(np.array([[-1, 1]], np.int32), (outputs, 1))
            value = bit.Step(conv, np.zeros((outputs, 1), np.int32), table, Bit())
        pooled = bit.Pool(value, "max", (height // 4, 5), (height // 4, 5), (0, 0, 0, 0), (1, 1))
        module = Module("net", (image,), (Output("y", pooled, "int32"),))
        files = Backend().emit(module, Backend.Options(machine="avr", name="net")).files
        sizes.append(json.loads(files["net.json"])["arena_words"] * 4)
    assert sizes[1] < sizes[0] * 1.3 + 1400


def added(bits: np.ndarray, conv: bit.Conv) -> int:
    """How many rows of weights an image [C, H, W] of 0 and 1 adds: what `row_lists` lists, window by window."""
    (down, along), (_, _, height, width) = conv.strides, conv.weights.shape
    top, left, bottom, right = conv.pads
    wide = np.pad(bits, ((0, 0), (top, bottom), (left, right)))
    reach = (conv.type.shape[2] - 1) * along + width
    total = 0
    for y in range(conv.type.shape[1]):
        for line in wide[:, y * down : y * down + height].transpose(1, 2, 0):
            listed = line[:reach] if 2 * line[:reach].sum() <= line[:reach].size else 1 - line[:reach]
            total += sum(int(listed[x * along : x * along + width].sum()) for x in range(conv.type.shape[2]))
    return total * -(-len(conv.weights) // 32)


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(3, 9), st.integers(3, 9)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    pads=st.tuples(*[st.integers(0, 1)] * 4),
    share=st.sampled_from([0.1, 0.4, 0.5, 0.6, 1.0]),
    seed=st.integers(0, 2**31),
)
def test_no_input_adds_more_rows_than_the_header_says(
    size: tuple[int, int],
    kernel: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
    share: float,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    x = Input("x", Bit(), (8, *size))
    conv = bit.Conv(x, rng.choice([-1, 1], (40, 8, *kernel)).astype(np.int8), strides, pads, (1, 1), 1, -1)
    step = bit.Step(conv, np.zeros((40, 1), np.int32), np.tile(np.array([[-1, 1]], np.int32), (40, 1)), Bit())
    (machine,) = (m for m in CONTROLLERS if m.name == "cortex-m4")
    most = lower(Module("net", (x,), (Output("y", step, "int8"),)), machine).additions
    middle = np.zeros((8, *size), int)  # the middle columns are in the most windows
    middle[:, :, size[1] // 4 : size[1] // 4 + size[1] // 2] = 1
    if conv.type.shape[1:] != (1, 1):
        assert added((rng.random((8, *size)) < share).astype(int), conv) <= most
        assert added(middle, conv) <= most


def test_a_budget_counts_everything_and_names_the_peak() -> None:
    facts = Backend().emit(small_cifar(), Backend.Options(machine="cortex-m4", input_layout="hwc", name="net")).facts
    whole, by_rows, peak = facts["ram_notes"]
    assert f"{3072} of input, 40 of output" in whole
    assert facts["ram_bytes"] < facts["arena_bytes"] + 3072
    assert "row by row" in by_rows
    assert "`conv2`" in peak
    assert "scratch" in peak
    with pytest.raises(BnncError) as found:
        check_budgets(facts, Config(max_ram=facts["ram_bytes"] - 1), facts["ram_notes"])
    (diagnostic,) = found.value.diagnostics
    assert (found.value.exit_code, diagnostic.code) == (Exit.CHECK_FAILED, "B0701")
    assert diagnostic.notes == ("that is 1 bytes too many", *facts["ram_notes"])
    check_budgets(facts, Config(max_ram=facts["ram_bytes"], max_flash=facts["flash_bytes"]))
    assert 14_000 < facts["flash_bytes"] < 24_000
