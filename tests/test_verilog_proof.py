"""Proofs of emitted Verilog: they hold for what is emitted, and fail when one gate, wire or register is changed."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bnnc.backends.verilog.backend import Backend, VerilogOptions
from bnnc.backends.verilog.design import Stream
from bnnc.backends.verilog.proof import certificate
from bnnc.backends.verilog.proof import unrolled as proof
from bnnc.backends.verilog.proof.cells import CELLS, outputs_of
from bnnc.backends.verilog.proof.circuit import Bit, Circuit, Misaligned, elaborated
from bnnc.backends.verilog.proof.reader import Unreadable, read
from bnnc.backends.verilog.proof.unrolled import Claim, Proof, Refuted, prove
from bnnc.backends.verilog.unrolled.engine import Unrolled, unrolled_engine
from bnnc.backends.verilog.unrolled.layers import DenseLayer
from bnnc.backends.verilog.unrolled.technology import TECHNOLOGIES
from bnnc.ir import bit, store
from bnnc.ir.module import Module
from tests.cli import bnnc
from tests.test_verilog_unrolled import bits, chain, expected, pictures, signs, step, values_of
from tests.verilog import RTL, needs_iverilog, run


def claim(engine: Unrolled, layers: list[DenseLayer]) -> Claim:
    """The claim about an engine."""
    net = engine.network
    return Claim(engine.module, layers, net.source, net.result, [layer.inputs for layer in net.layers[1:]])


def network(seed: int, sizes: tuple[int, ...], technology: str, levels: int = 2) -> tuple[Unrolled, list[DenseLayer]]:
    """Layers of signs with one threshold a neuron, and sums at the end."""
    rng = np.random.default_rng(seed)
    layers = [step(rng, signs(rng, n, k)) for k, n in pairwise(sizes[:-1])]
    layers.append(DenseLayer("scores", signs(rng, sizes[-1], sizes[-2])))
    width = int(sizes[-2]).bit_length()
    result = Stream("scores", 1, sizes[-1], sizes[-1], width, multiplier=2, offset=-sizes[-2])
    return unrolled_engine("net", layers, bits(sizes[0]), result, technology, levels), layers


@pytest.mark.parametrize("technology", TECHNOLOGIES)
@pytest.mark.parametrize("sizes", [(9, 5), (61, 17, 4), (200, 23, 11, 10), (1, 1), (3, 2, 1)])
def test_what_is_emitted_is_proven(technology: str, sizes: tuple[int, ...]) -> None:
    engine, layers = network(sum(sizes), sizes, technology)
    found = prove(claim(engine, layers), engine.files)
    assert found.neurons == sizes[1:]
    assert found.latency == engine.network.latency


@pytest.mark.parametrize("seed", range(6))
def test_codes_ternary_weights_and_tables_are_proven(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # No layer is small enough to be tried out: the rewriting has to see through all of it.
    monkeypatch.setattr(proof, "EXHAUSTIVE", 0)
    rng = np.random.default_rng(seed)
    inputs, neurons = int(rng.integers(15, 40)), int(rng.integers(3, 12))
    weights = rng.integers(-1, 2, (neurons, inputs)).astype(np.int8)
    thresholds = np.sort(rng.integers(-inputs // 2, inputs // 2, (neurons, 3)), axis=1)
    hidden = DenseLayer("codes", weights, thresholds, np.array([[-3, -1, 1, 3]]))
    last = DenseLayer("sums", signs(rng, 5, neurons))
    source = Stream("x", 1, inputs, inputs, 2, signed=True)
    result = Stream("y", 1, 5, 5, (3 * neurons).bit_length() + 1, signed=True)
    engine = unrolled_engine("net", [hidden, last], source, result, TECHNOLOGIES[seed % 3], 2)
    prove(claim(engine, [hidden, last]), engine.files)


def mutations(engine: Unrolled, rng: np.random.Generator, count: int) -> Iterator[dict[str, str]]:
    """The files with a bit of a table flipped, a wire replaced by another, an inverter more, or a register less."""
    names = sorted(name for name in engine.files if name != f"{engine.module}.v")
    for number in range(count):
        name = names[int(rng.integers(len(names)))]
        text = engine.files[name]
        if number % 4 == 0 and "'h" in text:
            match = rng.choice(list(re.finditer(r"(\d+)'h([0-9a-f]+)", text)))  # type: ignore[arg-type]
            value = int(match[2], 16) ^ (1 << int(rng.integers(int(match[1]))))
            changed = f"{match[1]}'h{value:0{len(match[2])}x}"
        elif number % 4 == 1:
            match = rng.choice(list(re.finditer(r"(?<![.\w])[a-z]\w*\[(\d+)\]", text)))  # type: ignore[arg-type]
            other = rng.choice(re.findall(r"(?<![.\w])[a-z]\w*\[\d+\]", text))
            changed = str(other)
        elif number % 4 == 2:
            match = rng.choice(list(re.finditer(r"(?<![.\w])[a-z]\w*\[(\d+)\]", text)))  # type: ignore[arg-type]
            changed = "~" + match[0]
        else:
            match = rng.choice(list(re.finditer(r"always @\(posedge clk\) (\w+) <= ", text)))  # type: ignore[arg-type]
            text = re.sub(rf"  reg (\[\d+:0\]) {match[1]};\n", rf"  wire \1 {match[1]};\n", text)
            match = next(re.finditer(re.escape(match[0]), text))
            changed = f"assign {match[0].split()[3]} = "
        yield {**engine.files, name: text[: match.start()] + changed + text[match.end() :]}


def results(files: dict[str, str], source: Stream, raw: np.ndarray) -> np.ndarray | None:
    """The raw bits of the core's results for raw inputs [samples, bits], by evaluating every table, without rewriting.

    None where registers no longer agree."""
    circuit = Circuit()
    inputs: list[Bit] = [(2 * circuit.input(), 0) for _ in range(source.bits)]
    try:
        out = elaborated(read("\n".join(files.values())), "net_core", circuit, {"in": inputs})["out"]
    except Misaligned:
        return None
    values = [np.zeros(len(raw), np.int64), *raw.T]
    for cell in circuit.tables[1 + source.bits :]:
        assert cell is not None
        index = sum((values[node] << i for i, node in enumerate(cell[1])), np.zeros(len(raw), np.int64))
        values.append(np.array([cell[0] >> row & 1 for row in range(1 << len(cell[1]))])[index])
    if len({cycle for _, cycle in out} - {None}) != 1:
        return None
    return np.stack([values[bit >> 1] ^ (bit & 1) for bit, _ in out], axis=1)


@pytest.mark.parametrize("technology", TECHNOLOGIES)
@pytest.mark.parametrize(("sizes", "count"), [((10, 6, 3), 80), ((64, 12, 5), 60)])
def test_a_changed_gate_wire_or_register_is_refuted(technology: str, sizes: tuple[int, ...], count: int) -> None:
    rng = np.random.default_rng(7)
    engine, layers = network(3, sizes, technology)
    source, result = engine.network.source, engine.network.result
    if sizes[0] <= 10:
        raw = np.arange(1 << sizes[0])[:, None] >> np.arange(sizes[0]) & 1
    else:
        raw = rng.integers(0, 2, (4000, sizes[0]))
    values = (expected(layers, values_of(source, raw)) - result.offset) // result.multiplier
    wanted = (values[:, :, None] >> np.arange(result.width) & 1).reshape(len(raw), -1)
    assert np.array_equal(results(dict(engine.files), source, raw), wanted)  # type: ignore[arg-type]
    refuted = 0
    for files in mutations(engine, rng, count):
        try:
            found: Proof | None = prove(claim(engine, layers), files)
        except Refuted:
            found = None
            refuted += 1
        if found is not None:
            after = results(files, source, raw)
            assert after is not None, "a circuit that mixes samples was proven"
            assert np.array_equal(after, wanted), "a wrong circuit was proven"
    # The others are changes that make no difference: a wire for itself, a table's row that cannot occur.
    assert refuted > 0.8 * count


def test_the_wrong_latency_and_a_wrong_weight_are_refuted() -> None:
    engine, layers = network(5, (20, 6, 3), "generic")
    top = engine.files["net.v"]
    wrong = re.sub(r"LATENCY\((\d+)\)", lambda match: f"LATENCY({int(match[1]) + 1})", top)
    with pytest.raises(Refuted, match="cycles"):
        prove(claim(engine, layers), {**engine.files, "net.v": wrong})
    weights = layers[0].weights.copy()
    weights[2, 3] *= -1
    other = [DenseLayer("step", weights, layers[0].thresholds, layers[0].values), *layers[1:]]
    with pytest.raises(Refuted, match="neuron 2"):
        prove(claim(engine, other), engine.files)
    assert layers[0].thresholds is not None
    thresholds = layers[0].thresholds.copy()
    thresholds[1] += 2
    other = [DenseLayer("step", layers[0].weights, thresholds, layers[0].values), *layers[1:]]
    with pytest.raises(Refuted, match="neuron 1"):
        prove(claim(engine, other), engine.files)


@pytest.mark.parametrize(
    "text",
    [
        "module a (input clk, output [0:0] y); assign y = b; endmodule",
        "module a (input clk, output [0:0] y); assign y = y; endmodule",
        "module a (input clk, output [0:0] y); endmodule",
        "module a (input clk, input [0:0] x, output [0:0] y); assign y = x[1]; endmodule",
        "module a (input clk, input [1:0] x, output [0:0] y); assign y = x; endmodule",
        "module a (input clk, input [1:0] x, output [0:0] y); assign y = x & 1; endmodule",
        "module a (input clk, input [1:0] x, output [0:0] y); initial y = 0; endmodule",
        "module a (input clk, input [1:0] x, output [0:0] y); LUT4 #(.INIT(16'h1)) u (.A(x[0]), .Z(y)); endmodule",
        "module a (input clk, output [0:0] y); assign y = 1'b0; assign y = 1'b1; endmodule",
        "module a (input clk, output [0:0] y); assign y = 1'b0;",
    ],
)
def test_text_outside_the_subset_is_an_error(text: str) -> None:
    with pytest.raises(Unreadable):
        outputs_of_a(text)


def outputs_of_a(text: str) -> dict[str, list[Bit]]:
    """The signals of module a."""
    modules, circuit = read(text), Circuit()
    names = [name for name in modules["a"].inputs if name != "clk"]
    return elaborated(modules, "a", circuit, {n: [(2 * circuit.input(), 0)] * modules["a"].widths[n] for n in names})


def instance_text(name: str, number: int, rng: np.random.Generator) -> str:
    """An instance of a cell with random tables, whose inputs are the lowest bits of `row`."""
    cell = CELLS[name]
    values = [(parameter, width, rng.integers(0, 2, width)) for parameter, width in cell.parameters.items()]
    parameters = ", ".join(f".{key}({width}'b{''.join(map(str, bits))})" for key, width, bits in values)
    inputs = ", ".join(f".{port}(row[{i}])" for i, port in enumerate(cell.ports))
    outputs = ", ".join(f".{port}(out{number}_{i})" for i, port in enumerate(cell.outputs))
    return f"{name} #({parameters}) u{number} ({inputs}, {outputs});"


@needs_iverilog
def test_the_proof_s_cells_are_those_of_the_library(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    texts = [instance_text(name, number, rng) for number, name in enumerate([*CELLS] * 4)]
    wires = [f"out{n}_{i}" for n, name in enumerate([*CELLS] * 4) for i in range(len(CELLS[name].outputs))]
    sources = [RTL / "tech" / f"{name}.v" for name in {*CELLS, "CARRY4"}]
    (tmp_path / "bench.v").write_text(
        "module bench; reg [7:0] row; wire " + ", ".join(wires) + ";\n" + "\n".join(texts) + "\n"
        "initial begin for (row = 0; row < 128; row = row + 1) begin #1 $display(\"%b\", {"
        + ", ".join(wires) + "}); end end endmodule\n"
    )  # fmt: skip
    run(["iverilog", "-g2005", "-o", "bench.vvp", "bench.v", *sorted(map(str, sources))], tmp_path)
    printed = np.array([[int(bit) for bit in line] for line in run(["vvp", "-n", "bench.vvp"], tmp_path).split()])
    assert printed.shape == (128, len(wires))
    found = []
    for text in texts:
        module = "module m (input clk, input [7:0] row, output z); assign z = 1'b0; " + text + " endmodule"
        instance = read(module)["m"].instances[0]
        ports = CELLS[instance.module].ports
        for table, named in outputs_of(instance).values():
            places = [ports.index(port) for port in named]
            indices = [sum((row >> place & 1) << i for i, place in enumerate(places)) for row in range(128)]
            found.append([table >> index & 1 for index in indices])
    assert np.array_equal(printed, np.array(found).T)


@pytest.mark.parametrize("unroll", ["all", "2", ""])
@pytest.mark.parametrize("make", [chain, pictures])
def test_the_certificate_of_a_circuit_covers_its_layers(
    make: Callable[[np.random.Generator], Module], unroll: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificate, "SECONDS", 3.0)
    module = make(np.random.default_rng(5))
    backend = Backend()
    options = VerilogOptions(unroll=unroll, technology="ecp5", levels=2)
    artifact = backend.prove(module, options)
    document = json.loads(artifact.files["proof.json"])
    assert document == artifact.facts["proof"]
    engines, ops = document["netlists"]["engines"], document["layers"]["ops"]
    covered = [layer["name"] for engine in engines for layer in engine["layers"]]
    assert len(covered) == {"all": 3, "2": 1, "": 0}[unroll]
    assert {op["op"] for op in ops} == {op.opcode for op in module.ops()} - {"input", "reshape"}
    assert document["neurons"] == sum(len(op.weights) for op in module.ops() if isinstance(op, bit.Conv | bit.Dense))
    assert all("netlist" in op["rests_on"] or op["rests_on"]["modules"] for op in ops)
    blocks = document["blocks"]
    assert blocks["proven"] or not blocks["tool"]
    for entry in [*engines, *ops, blocks]:
        for name, digest in entry["sha256"].items():
            assert hashlib.sha256(artifact.files[name]).hexdigest() == digest


@needs_iverilog
def test_check_proves_and_writes_the_certificate_beside_the_verilog(tmp_path: Path) -> None:
    model = tmp_path / "chain.bnnm"
    model.write_bytes(store.dumps(chain(np.random.default_rng(8))))
    folder = tmp_path / "proof"
    options = ["--target", "verilog", "-X", "unroll=all", "-X", "simulator=iverilog", "--check", "3"]
    done = bnnc("check", model, *options, "--prove", "-o", folder, "--json")
    assert done.code == 0
    found = done.json["proof"]
    assert found["neurons"] == 24
    written = json.loads((folder / "proof.json").read_text())
    assert {key: found[key] for key in written} == written
    assert all((folder / name).is_file() for name in written["netlists"]["engines"][0]["sha256"])
    assert written["not_proven"]
    said = bnnc("check", model, *options, "--prove", "-o", folder)
    assert "proven for all inputs: 24 neurons, 24 of them from netlists; 5 ops and 0 memories read back" in said.out
    assert all(f"not proven: {what.split()[0]}" in said.err for what in written["not_proven"])


def test_a_target_that_proves_nothing_says_so(tmp_path: Path) -> None:
    model = tmp_path / "chain.bnnm"
    model.write_bytes(store.dumps(chain(np.random.default_rng(9))))
    done = bnnc("check", model, "--target", "llvm", "--prove")
    assert done.code == 2
    assert "proves nothing" in done.err


# Registers become wires: that samples do not mix is another part of the proof.
WIRES = """module \\$dff (CLK, D, Q);
parameter WIDTH = 1; parameter CLK_POLARITY = 1; input CLK; input [WIDTH-1:0] D; output [WIDTH-1:0] Q; assign Q = D;
endmodule
"""


def behaviour(layer: DenseLayer) -> str:
    """A layer of signs with one threshold a neuron, as anyone would write it: sums of products of -1 and +1."""
    assert layer.thresholds is not None
    assert layer.values is not None
    lines = []
    for n, row in enumerate(layer.weights):
        terms = " + ".join(f"(in[{i}] ? {int(w)} : {-int(w)})" for i, w in enumerate(row)).replace("-1", "-32'sd1")
        high, low = (int(value > 0) for value in (layer.values[n][1], layer.values[n][0]))
        lines.append(f"  wire signed [31:0] s{n} = {terms};")
        lines.append(f"  assign out[{n}] = s{n} >= $signed({int(layer.thresholds[n][0])}) ? 1'b{high} : 1'b{low};")
    top = len(layer.weights) - 1
    ports = f"(input clk, input [{layer.weights.shape[1] - 1}:0] in, output [{top}:0] out)"
    return (
        f"module spec {ports};\n"
        + "\n".join(lines).replace("? 1 :", "? 32'sd1 :").replace(": 1)", ": 32'sd1)")
        + "\nendmodule\n"
    )


@pytest.mark.skipif(shutil.which("yosys") is None, reason="needs yosys")
@pytest.mark.parametrize(("seed", "wrong"), [(1, False), (2, False), (3, True)])
def test_yosys_sat_agrees_with_the_proof_on_a_small_layer(seed: int, wrong: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    layer = step(rng, signs(rng, 4, 9))
    result = Stream("y", 1, 4, 4, 1, multiplier=2, offset=-1)
    engine = unrolled_engine("net", [layer], bits(9), result, "generic", 2)
    prove(claim(engine, [layer]), engine.files)
    if wrong:
        weights = layer.weights.copy()
        weights[2, 3] *= -1
        layer = DenseLayer("step", weights, np.full((4, 1), 1), layer.values)
    (tmp_path / "spec.v").write_text(behaviour(layer))
    (tmp_path / "wires.v").write_text(WIRES)
    for name, text in engine.files.items():
        if name != "net.v":
            (tmp_path / name).write_text(text)
    cells = " ".join(str(RTL / "tech" / f"{name}.v") for name in ("bnnc_adder", "bnnc_lut4"))
    script = (
        f"read_verilog net_*.v spec.v {cells}; hierarchy -check; proc; setattr -mod -unset keep_hierarchy *; "
        "techmap -map wires.v; flatten; opt_clean; "
        "miter -equiv -flatten -make_outputs spec net_core miter; sat -verify -prove trigger 0 miter"
    )
    done = subprocess.run(["yosys", "-q", "-p", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode != 0) == wrong, done.stdout + done.stderr
