"""report.json: how data enter and leave, bit by bit, and what each layer does in how many cycles."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from bnnc.backends.verilog.circuit import Value, canonical_order
from bnnc.backends.verilog.design import Engine
from bnnc.backends.verilog.package import Package
from bnnc.backends.verilog.testbench import IMAGES
from bnnc.backends.verilog.top import Axis, axes_in, axes_out
from bnnc.ir import bit, fixed
from bnnc.ir.module import Input
from bnnc.ir.op import Op

MOST_LISTED = 1 << 14


def report(package: Package) -> dict[str, Any]:
    """The document."""
    design, plan, boundary = package.design, package.plan, package.boundary
    outputs = axes_out(design)
    found: dict[str, Any] = {
        "schema": "bnnc.verilog/1",
        "made_by": package.made_by,
        "name": design.name,
        "golden_vectors": IMAGES,
        "inputs": [
            {**_entry(op), **_layout(axis, value)}
            for op, axis, value in zip(boundary.entries, axes_in(design), plan.entries, strict=True)
        ],
        "outputs": [
            {"layer": op.loc.name, **_layout(axis, value)}
            for op, axis, value in zip(boundary.cuts, outputs, plan.cuts, strict=False)
        ],
        "class": _class(package, outputs[-1]),
        "layers": [
            {
                "name": layer.name,
                "layer": layer.loc.name,
                "module": layer.module,
                "vectors": layer.vectors,
                "inputs": layer.inputs,
                "outputs": layer.outputs,
                "pe": fold.pe,
                "simd": fold.simd,
                "cycles": layer.cycles(fold),
            }
            for layer in design.layers
            for fold in [design.folding.of(layer)]
        ],
        "engines": [_engine(engine) for engine in design.engines],
        "memory_bits": sum(memory.bits for memory in design.memories),
    }
    return found


def report_text(document: dict[str, Any]) -> str:
    """The file."""
    return json.dumps(document, indent=1, ensure_ascii=True) + "\n"


def _entry(op: Op) -> dict[str, Any]:
    """What an input port takes: an input of the model, or the result of the op that reads it."""
    if isinstance(op, Input):
        return {"input": op.name, "meaning": "the numbers of the model's input"}
    source: Op = op
    while not isinstance(source, Input):
        source = source.operands[0]
    found: dict[str, Any] = {"input": source.name, "layer": op.loc.name}
    if isinstance(op, bit.Step):
        found["meaning"] = "values[n], n = how many of the thresholds are <= x (computed in fp32, before the circuit)"
        if op.thresholds.size <= MOST_LISTED:
            found |= {"thresholds": _floats(op.thresholds), "values": op.values.tolist()}
            if op.thresholds.shape == (1, 1) and op.values.tolist() == [[-1, 1]]:
                found["meaning"] = f"1 where x >= {_floats(op.thresholds)[0][0]}, else 0 (which stands for -1)"
    elif isinstance(op, fixed.Encode):
        found["meaning"] = f"floor(x * 2^{fixed.fraction(op.dtype)} + 1/2), held to 32 bits"
    return found


def _floats(values: np.ndarray) -> list[list[float | str]]:
    return [[float(v) if np.isfinite(v) else str(v) for v in row] for row in values.tolist()]


def _layout(axis: Axis, value: Value) -> dict[str, Any]:
    stream = axis.stream
    plain = bool(np.array_equal(value.order, canonical_order(value.type.shape)))
    shape = value.type.shape
    channels = (shape[0] if shape else 1) if plain else stream.channels
    order: dict[str, Any] = {"order": "pixel by pixel (row-major), channels (the first axis) ascending"}
    if not plain:
        order["order"] = "element order[i] of the tensor (row-major) at place i of the stream"
        if value.order.size <= MOST_LISTED:
            order["indices"] = value.order.tolist()
    return {
        "port": axis.prefix,
        "dtype": str(value.type.dtype),
        "shape": list(value.type.shape),
        "tdata_bits": axis.width,
        "lanes": stream.lanes,
        "width": stream.width,
        "signed": stream.signed,
        "multiplier": stream.multiplier,
        "offset": stream.offset,
        "beats": stream.beats,
        "pixels": stream.elements // channels,
        "channels": channels,
        "layout": f"lane l of a beat is tdata[{stream.width}*l +: {stream.width}], the least significant bit first; "
        "bits above the lanes are 0; an element is multiplier * lane + offset; tlast is on the last beat of a sample",
        **order,
    }


def _class(package: Package, axis: Axis) -> dict[str, Any]:
    if package.design.classes is None:
        return {"port": None, "reason": package.plan.unclassed}
    return {
        "port": axis.prefix,
        "tdata_bits": axis.width,
        "width": axis.stream.width,
        "beats": 1,
        "meaning": "the index of the largest score; of equal ones the lowest",
    }


def _engine(engine: Engine) -> dict[str, Any]:
    return {
        "name": engine.name,
        "module": engine.module,
        "layer": engine.loc.name,
        "op": engine.op,
        "parameters": {k: v for k, v in engine.parameters if isinstance(v, int)},
        "beats": engine.outputs[0].stream.beats,
    }


__all__ = ["report", "report_text"]
