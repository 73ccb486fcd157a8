"""Small modules of the library under SAT: what they are is proven, and a changed gate is refuted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from bnnc.backends.verilog import synthesis
from bnnc.backends.verilog.backend import VerilogOptions, packaged
from bnnc.backends.verilog.package import circuit_files
from bnnc.backends.verilog.proof.blocks import blocks_of, proof_of, proven_blocks
from bnnc.backends.verilog.proof.certificate import certificate
from bnnc.backends.verilog.proof.harness import Flow, Unit
from bnnc.backends.verilog.proof.small import PLANS, flows_of
from bnnc.backends.verilog.proof.units import FULL_ADDER, multiply, popcount, settle_of, tree
from bnnc.backends.verilog.proof.unrolled import Refuted
from bnnc.diagnostics import BnncError, Exit
from tests.test_verilog_unrolled import chain, pictures
from tests.verilog import RTL

COMMAND = synthesis.yosys_command()
needs_yosys = pytest.mark.skipif(COMMAND is None, reason="needs yosys")
LIBRARY = {f"rtl/{path.name}": path.read_text() for path in RTL.glob("*.v")}
WINDOW = {
    "WIDTH": 8, "LANES": 4, "CHANNELS": 8, "GROUPS": 1, "HEIGHT": 9, "COLUMNS": 9, "KERNEL_H": 1, "KERNEL_W": 3,
    "STRIDE_H": 1, "STRIDE_W": 2, "DILATION_H": 1, "DILATION_W": 1, "PAD_TOP": 0, "PAD_LEFT": 1, "OUT_HEIGHT": 9,
    "OUT_COLUMNS": 5, "PAD_VALUE": 1,
}  # fmt: skip
VECTORS = {"INPUTS": 64, "OUTPUTS": 16, "SIMD": 16, "PE": 16, "GROUPS": 1}
PLANE = "in_data[lane*WIDTH+WIDTH-1-plane]"
# Instances as circuits have them, and a change of a gate in the file of the module (or of one inside).
INSTANCES: list[tuple[str, Mapping[str, int], str, str, str]] = [
    ("bnnc_fifo", {"WIDTH": 9, "DEPTH": 2}, "bnnc_fifo", "full ? aside : in_data", "in_data"),
    ("bnnc_fifo", {"WIDTH": 9, "DEPTH": 64}, "bnnc_fifo", "if (put) words[tail]", "if (take) words[tail]"),
    ("bnnc_width", {"WIDTH": 3, "IN": 1, "OUT": 9}, "bnnc_width", "in_valid && last;", "in_valid;"),
    ("bnnc_concat", {"WIDTH": 7, "A_BEATS": 3, "B_BEATS": 5}, "bnnc_concat", "second ? b_data", "second ? a_data"),
    ("bnnc_repeat", {"WIDTH": 7, "BEATS": 3, "TIMES": 9}, "bnnc_repeat", "was_first ? fresh : again", "fresh"),
    ("bnnc_planes", {"LANES": 4, "WIDTH": 8}, "bnnc_planes", PLANE, f"~{PLANE}"),
    ("bnnc_constant", {"WIDTH": 7, "BEATS": 3}, "bnnc_rom", "if (enable) data <= word", "if (enable) data <= ~word"),
    (
        "bnnc_step",
        {"LANES": 8, "IN_WIDTH": 10, "IN_SIGNED": 1, "OUT_WIDTH": 1, "CHUNKS": 4, "COUNT": 1},
        "bnnc_step",
        "key >= (",
        "key > (",
    ),
    (
        "bnnc_lookup",
        {"LANES": 8, "IN_WIDTH": 2, "IN_SIGNED": 1, "OUT_WIDTH": 9, "LOW": -2, "SIZE": 4, "CHUNKS": 4, "SHARED": 0},
        "bnnc_lookup",
        "base + wide[AW-1:0]",
        "base - wide[AW-1:0]",
    ),
    (
        "bnnc_affine",
        {"LANES": 1, "IN_WIDTH": 2, "IN_SIGNED": 0, "FACTOR_WIDTH": 2, "OUT_WIDTH": 4, "CHUNKS": 1},
        "bnnc_affine",
        "+ offset",
        "- offset",
    ),
    (
        "bnnc_pool",
        {"LANES": 8, "IN_WIDTH": 1, "SIGNED": 0, "OUT_WIDTH": 1, "TAPS": 4, "FUNCTION": 0, "CHUNKS": 1},
        "bnnc_pool",
        "!pad && better",
        "pad && better",
    ),
    (
        "bnnc_argmax",
        {"WIDTH": 9, "SIGNED": 0, "COUNT": 10, "LANES": 5},
        "bnnc_argmax",
        "key_b > key_a",
        "key_b >= key_a",
    ),
    ("bnnc_window", WINDOW, "bnnc_window", "pad <= outside", "pad <= 1'b0"),
    (
        "bnnc_mvu_bits",
        {**VECTORS, "TERNARY": 0, "SUM": 0, "FLAGS": 0, "ACC_WIDTH": 7},
        "bnnc_accumulate",
        "accumulator <= sum[WIDTH:1]",
        "accumulator <= accumulator",
    ),
    (
        "bnnc_mvu_bits",
        {**VECTORS, "TERNARY": 1, "SUM": 1, "FLAGS": 1, "ACC_WIDTH": 8},
        "bnnc_mvu_bits",
        "{amount, more} - weighed",
        "{amount, more} + weighed",
    ),
]


@needs_yosys
@pytest.mark.parametrize(("module", "numbers", "file", "before", "after"), INSTANCES)
def test_a_module_is_proven_and_with_a_changed_gate_refuted(
    module: str, numbers: Mapping[str, int], file: str, before: str, after: str
) -> None:
    assert COMMAND is not None
    (flow, *_) = flows_of(module, numbers)
    text = LIBRARY[f"rtl/{file}.v"]
    assert before in text
    with pytest.raises(Refuted, match="does not do what"):
        proof_of(flow, {**LIBRARY, f"rtl/{file}.v": text.replace(before, after)}, COMMAND, 60)
    if module != "bnnc_window":  # takes a minute
        assert proof_of(flow, LIBRARY, COMMAND, 60)


@needs_yosys
@pytest.mark.slow
def test_a_window_is_proven() -> None:
    assert COMMAND is not None
    (flow,) = flows_of("bnnc_window", WINDOW)
    assert proof_of(flow, LIBRARY, COMMAND, 600)


UNITS: list[tuple[Unit, str, str, str]] = [
    (FULL_ADDER, "bnnc_full_adder", "a ^ b ^ c", "a ^ b | c"),
    (popcount(13), "bnnc_popcount", ".c(b[6])", ".c(b[5])"),
    (tree(3, 3, False), "bnnc_adder_tree", "later[n] = pending_below[2*n+1]", "later[n] = pending_below[2*n]"),
    (settle_of(40, 7), "bnnc_settle", "fits ? moved", "1 ? moved"),
    (multiply(3, 3), "bnnc_multiply", "a_limb * b_limb", "a_limb + b_limb"),
]


@needs_yosys
@pytest.mark.parametrize(("unit", "file", "before", "after"), UNITS)
def test_a_unit_is_proven_and_with_a_changed_gate_refuted(unit: Unit, file: str, before: str, after: str) -> None:
    assert COMMAND is not None
    text = LIBRARY[f"rtl/{file}.v"]
    assert before in text
    assert proof_of(unit, LIBRARY, COMMAND, 60)
    with pytest.raises(Refuted, match="does not do what"):
        proof_of(unit, {**LIBRARY, f"rtl/{file}.v": text.replace(before, after)}, COMMAND, 60)


@pytest.mark.parametrize("make", [chain, pictures])
def test_every_module_of_a_circuit_has_a_block(make: object) -> None:
    package = packaged(make(np.random.default_rng(3)), VerilogOptions())  # type: ignore[operator]
    blocks = blocks_of(package.design.name, circuit_files(package))
    modules = {block.module for block in blocks}
    assert modules >= set(package.design.modules) & set(PLANS)
    assert len({block.title for block in blocks}) == len(blocks)
    for block in blocks:
        if isinstance(block.spec, Flow):
            assert sum(source.bits for source in block.spec.sources) <= 24
    assert any(block.smaller for block in blocks)


@needs_yosys
def test_a_changed_gate_of_an_emitted_module_refutes_the_certificate() -> None:
    package = packaged(chain(np.random.default_rng(3)), VerilogOptions())
    files = circuit_files(package)
    text = files["rtl/bnnc_full_adder.v"]
    files["rtl/bnnc_full_adder.v"] = text.replace("c && (a || b)", "c && (a && b)")
    with pytest.raises(BnncError) as caught:
        certificate(package, files)
    assert caught.value.diagnostics[0].code == "B0625"
    assert "bnnc_full_adder" in caught.value.diagnostics[0].message
    assert caught.value.exit_code == Exit.CHECK_FAILED


def test_without_yosys_the_certificate_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesis, "yosys_command", lambda: None)
    package = packaged(chain(np.random.default_rng(3)), VerilogOptions())
    document = certificate(package, circuit_files(package))
    assert document["blocks"]["tool"] == ""
    assert any("no yosys" in what for what in document["not_proven"])


@needs_yosys
def test_blocks_for_which_there_is_no_time_are_named() -> None:
    package = packaged(chain(np.random.default_rng(3)), VerilogOptions())
    files = circuit_files(package)
    found = proven_blocks(blocks_of(package.design.name, files), files, 0.0)
    assert found.found
    assert not any(one.proven for one in found.found)
    document = certificate(package, files, 0.0)
    assert any("given up" in what for what in document["not_proven"])
    assert document["blocks"]["proven"] == 0
