"""The unrolled engine: a chain of dense layers as one module with stream ports, in files of Verilog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bnnc.backends.verilog.design import Stream
from bnnc.backends.verilog.unrolled.layers import DenseLayer
from bnnc.backends.verilog.unrolled.network import Network, network
from bnnc.backends.verilog.unrolled.technology import LIBRARY, TECHNOLOGIES, size
from bnnc.backends.verilog.unrolled.verilog import core_module, engine_module, group_module

LEVELS = 3


@dataclass(frozen=True, eq=False)
class Unrolled:
    """An engine that is a module of its own.

    module: its name; ports clk, rst, in_*, out_*, no parameters. files: name -> Verilog, one module a file, the engine
    among them. library: modules of rtl/ and rtl/tech that they are made of. latency: cycles from the transfer of an
    input beat to the first cycle in which its result is valid. tables: lookup tables; registers: flip-flops.
    layers, network: what it was made from, for the certifier.
    """

    module: str
    files: Mapping[str, str]
    library: tuple[str, ...]
    latency: int
    tables: int
    registers: int
    layers: tuple[DenseLayer, ...]
    network: Network


def unrolled_engine(
    name: str,
    layers: Sequence[DenseLayer],
    source: Stream,
    result: Stream,
    technology: str = "generic",
    levels: int = LEVELS,
) -> Unrolled:
    """One pipeline for a chain of dense layers, from a beat with all of a sample's elements to one with all results.

    source: one beat a sample (or a window: `lanes` elements of any code), whose lanes are the K inputs of layers[0].
    result: one beat; lanes are the neurons of the last layer. Its raw numbers must hold the last layer's values
    (thresholds) or sums (none): value = multiplier * raw + offset, else ValueError. technology: one of TECHNOLOGIES.
    levels: lookup tables between two registers. `name` must be a Verilog identifier; all modules' names begin with it.
    """
    if technology not in TECHNOLOGIES or levels < 1 or not layers:
        raise ValueError(f"no engine: {technology}, {levels} levels, {len(layers)} layers")
    for layer, inputs in zip(layers, (source.lanes, *(len(layer.weights) for layer in layers)), strict=False):
        if layer.weights.shape[1] != inputs:
            raise ValueError(f"{layer.name} has weights {layer.weights.shape} on {inputs} inputs")
    net = network(name, layers, source, result, levels, technology)
    parts = [part for layer in net.layers for part in layer.parts if part.outputs]
    files = {f"{name}.v": engine_module(net), f"{name}_core.v": core_module(net)}
    files.update((f"{part.group.name}.v", group_module(part, technology)) for part in parts)
    return Unrolled(
        module=name,
        files=files,
        library=("bnnc_fifo", "bnnc_pipeline", *LIBRARY[technology]),
        latency=net.latency + 2,
        tables=sum(size(part.pipeline.cells, technology) for part in parts),
        registers=sum(len(nets) for part in parts for nets in part.pipeline.registers),
        layers=tuple(layers),
        network=net,
    )
