"""How one op is written: its layer with arguments, the arrays that go to a file, and what must stand before it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from bnnc.frontends.dsl.layers_floats import RENAMED
from bnnc.ir import bit, move, nn
from bnnc.ir.op import Op
from bnnc.ir.types import F32, Bit, Code, DType, Int, Trit, is_integer, value_range

# Larger tables stand in the weights.
INLINE = 24
EXACT = 2**24


@dataclass(frozen=True)
class Written:
    """A layer as text. `keeps_name`: people call it by its name."""

    layer: str
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    keeps_name: bool = False


Known = Callable[[Op], str]


def layer_text(op: Op, known: Known) -> Written | str:
    """The layer of an op; `known` names its operands but the first. A plain text says why there is none."""
    wide = [x for x in op.operands if is_integer(x.type.dtype) and max(map(abs, value_range(x.type.dtype))) > EXACT]
    if op.code.startswith("nn.") and wide and not isinstance(op, nn.ArgMax):
        return f"`{op.opcode}` reads integers beyond 2^24"
    match op:
        case bit.Conv() | bit.Dense() | nn.Conv() | nn.Dense():
            return _product(op)
        case bit.Step():
            return _step(op)
        case bit.Pool() | nn.Pool():
            return _pool(op)
        case bit.Add():
            return _add(op, known)
        case bit.Decode():
            return Written("decode")
        case nn.Constant():
            return _constant(op)
        case nn.BatchNorm():
            return _norm(op)
        case nn.MultiThreshold():
            return _count(op)
        case nn.Map() | nn.MatMul() | nn.Reduce() | nn.ArgMax() | nn.Softmax():
            return _real(op, known)
        case move.Reshape() | move.Transpose() | move.Expand() | move.Concat() | move.Slice() | move.Gather():
            return _move(op, known)
        case move.Pad():
            value = _number(op.value)
            if value is None:
                return f"padding with {op.value}"
            return Written(f"pad({list(op.pads)}, value={value}, mode={op.mode})")
    return f"there is no layer for `{op.opcode}`"


def _number(value: float) -> str | None:
    if not math.isfinite(value) or (value == 0 and math.copysign(1, value) < 0):
        return None
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _numbers(values: np.ndarray) -> str | None:
    """`[1, 2]` or `[[1, 2], [3, 4]]`, if it is short and reads back exactly."""
    if values.size > INLINE:
        return None
    if values.ndim == 0:
        return _number(float(values))
    parts = [_numbers(row) for row in values]
    return f"[{', '.join(str(part) for part in parts)}]" if None not in parts else None


def _arguments(layer: str, *arguments: str) -> str:
    given = [argument for argument in arguments if argument]
    return f"{layer}({', '.join(given)})" if given else layer


def _size(values: tuple[int, ...]) -> str:
    if len(set(values)) == 1:
        return str(values[0])
    return "x".join(map(str, values))


def _named(name: str, values: tuple[int, ...], default: tuple[int, ...]) -> str:
    return "" if values == default else f"{name}={_size(values)}"


def _pads(pads: tuple[int, ...]) -> str:
    begins, ends = pads[: len(pads) // 2], pads[len(pads) // 2 :]
    if not any(pads):
        return ""
    return f"pad={_size(begins)}" if begins == ends else f"pad={list(pads)}"


def _weights_dtype(weights: np.ndarray) -> DType:
    low, high = int(weights.min()), int(weights.max())
    if low >= -1 and high <= 1:
        return Trit() if bool((weights == 0).any()) else Bit()
    return Int(low, high)


def _product(op: bit.Conv | bit.Dense | nn.Conv | nn.Dense) -> Written | str:
    arrays: dict[str, np.ndarray] = {}
    bias = ""
    if isinstance(op, bit.Conv | bit.Dense):
        dtype = _weights_dtype(op.weights)
        arrays["weights"] = op.weights
        kind = "" if isinstance(dtype, Bit) else f"weights={dtype}"
    else:
        if not isinstance(op.w, nn.Constant) or not (op.bias is None or isinstance(op.bias, nn.Constant)):
            return "a layer has weights that are computed"
        arrays["weights"], kind = op.w.values, "weights=f32"
        if isinstance(op.bias, nn.Constant):
            arrays["bias"], bias = op.bias.values, "bias=true"
    if isinstance(op, bit.Dense | nn.Dense):
        return Written(_arguments("dense", str(len(arrays["weights"])), kind, bias), arrays, keeps_name=True)
    filters, kernel = arrays["weights"].shape[0], arrays["weights"].shape[2:]
    ones = (1,) * len(kernel)
    pad_value = op.pad_value if isinstance(op, bit.Conv) else 0
    text = _arguments(
        "conv",
        str(filters),
        "x".join(map(str, kernel)),
        _named("stride", op.strides, ones),
        _pads(op.pads),
        _named("dilation", op.dilations, ones),
        f"groups={op.groups}" if op.groups != 1 else "",
        f"pad_value={pad_value}" if pad_value else "",
        kind,
        bias,
    )
    return Written(text, arrays, keeps_name=True)


def _step(op: bit.Step) -> Written:
    thresholds, values = op.thresholds, op.values
    pair = isinstance(op.dtype, Bit) and values.shape == (1, 2) and values.tolist() == [[-1, 1]]
    first = _number(float(thresholds[0, 0])) if pair else None
    if first is not None:
        return Written(_arguments("sign", "" if first == "0" else first), keeps_name=True)
    inline = _numbers(thresholds), _numbers(values)
    if None not in inline:
        return Written(f"step({op.dtype}, {inline[0]}, {inline[1]})", keeps_name=True)
    arrays = {"thresholds": thresholds}
    if not isinstance(op.dtype, F32) and _usual(op.dtype, values):
        return Written(f"step({op.dtype})", arrays, keeps_name=True)
    return Written(f"step({op.dtype}, file, file)", {**arrays, "values": values}, keeps_name=True)


def _usual(dtype: DType, values: np.ndarray) -> bool:
    """Whether every row is what the language takes if no values are given."""
    match dtype:
        case Bit():
            row = [-1, 1]
        case Trit():
            row = [-1, 0, 1]
        case Code(bits, multiplier, offset):
            row = [multiplier * c + offset for c in range(2**bits)]
        case _:
            return False
    return all(list(found) == row for found in values.tolist())


def _pool(op: bit.Pool | nn.Pool) -> Written:
    layer = {"max": "maxpool", "min": "minpool", "sum": "sumpool", "average": "avgpool"}[op.function]
    ones, arrays, smallest = (1,) * len(op.kernel), {}, ""
    if isinstance(op, bit.Pool) and op.smallest is not None:
        channels = [int(channel) for channel in np.flatnonzero(op.smallest)]
        smallest = f"smallest={channels}"
        if len(channels) > INLINE:
            smallest, arrays = "smallest=file", {"smallest": op.smallest}
    text = _arguments(
        layer,
        _size(op.kernel),
        "" if op.strides == op.kernel else f"stride={_size(op.strides)}",
        _pads(op.pads),
        _named("dilation", op.dilations, ones),
        "ceil=true" if op.ceil_mode else "",
        "count_pad=true" if isinstance(op, nn.Pool) and op.count_include_pad and layer == "avgpool" else "",
        smallest,
    )
    decoded = isinstance(op, nn.Pool) and op.function != "average" and is_integer(op.x.type.dtype)
    return Written(text, arrays, ("decode",) if decoded else (), keeps_name=True)


def _add(op: bit.Add, known: Known) -> Written:
    coefficients = "" if set(op.coefficients) == {1} else f"coefficients={list(op.coefficients)}"
    return Written(_arguments("add", *(known(x) for x in op.xs[1:]), coefficients))


def _constant(op: nn.Constant) -> Written:
    inline = _numbers(op.values.reshape(-1) if op.values.ndim else op.values)
    shape = f"shape={list(op.values.shape)}"
    if inline is None:
        return Written(f"constant({shape})", {"values": op.values})
    return Written(f"constant({inline})" if op.values.ndim < 2 else f"constant({inline}, {shape})")


def _norm(op: nn.BatchNorm) -> Written | str:
    arrays = {}
    for name in ("scale", "bias", "mean", "variance"):
        operand = getattr(op, name)
        if not isinstance(operand, nn.Constant):
            return "a batch norm has parameters that are computed"
        arrays[name] = operand.values
    return Written(f"norm({op.epsilon!r})", arrays, keeps_name=True)


def _count(op: nn.MultiThreshold) -> Written | str:
    if not isinstance(op.thresholds, nn.Constant):
        return "thresholds are computed"
    inline = _numbers(op.thresholds.values)
    if inline is None:
        return Written("count", {"thresholds": op.thresholds.values})
    return Written(f"count({inline})")


def _real(op: nn.Map | nn.MatMul | nn.Reduce | nn.ArgMax | nn.Softmax, known: Known) -> Written:
    keep = "keep=true" if isinstance(op, nn.Reduce | nn.ArgMax) and op.keepdims else ""
    match op:
        case nn.Map():
            decoded = op.function == "add" and is_integer(op.xs[0].type.dtype)
            name = "add" if op.function == "add" else RENAMED.get(op.function, op.function)
            return Written(_arguments(name, *(known(x) for x in op.xs[1:])), before=("decode",) if decoded else ())
        case nn.MatMul():
            return Written(f"matmul({known(op.b)})")
        case nn.Reduce():
            return Written(_arguments("reduce", op.function, f"axes={list(op.axes)}", keep))
        case nn.ArgMax():
            layer = "argmin" if op.smallest else "argmax"
            axis = f"axis={op.axis}" if op.axis else ""
            return Written(_arguments(layer, axis, keep, "last=true" if op.last else ""))
        case nn.Softmax():
            return Written(_arguments("softmax", f"axis={op.axis}" if op.axis else "", "log=true" if op.log else ""))


def _move(op: Op, known: Known) -> Written:
    match op:
        case move.Reshape():
            return Written("flatten" if op.shape == (op.type.size,) else f"reshape({list(op.shape)})")
        case move.Transpose():
            return Written(f"transpose({list(op.perm)})")
        case move.Expand():
            return Written(f"expand({list(op.shape)})")
        case move.Concat():
            axis = f"axis={op.axis}" if op.axis else ""
            return Written(_arguments("concat", *(known(x) for x in op.xs[1:]), axis))
        case move.Slice():
            return Written(f"slice(starts={list(op.starts)}, counts={list(op.counts)}, steps={list(op.steps)})")
        case move.Gather():
            axis = f"axis={op.axis}" if op.axis else ""
            if op.indices.size <= INLINE:
                return Written(_arguments("gather", f"{op.indices.tolist()}", axis))
            return Written(_arguments("gather", axis, f"count={op.indices.size}"), {"indices": op.indices})
    raise TypeError(op.opcode)
