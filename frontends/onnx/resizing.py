"""Resize and Upsample by nearest neighbours: every output index picks one input index, worked out at import.

The places are computed in fp32, as runtimes do: where a place falls on a whole number, that decides.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bnnc.frontends.onnx.node import Handler, Node
from bnnc.frontends.onnx.picking import gathered
from bnnc.frontends.onnx.problems import SHAPES, Problem, unsupported
from bnnc.frontends.onnx.values import Value

_HALF = np.float32(0.5)
_PLACES: dict[str, Callable[[np.ndarray, int, int, np.float32], np.ndarray]] = {
    "half_pixel": lambda i, size, new, scale: (i + _HALF) / scale - _HALF,
    "pytorch_half_pixel": lambda i, size, new, scale: (i + _HALF) / scale - _HALF if new > 1 else np.zeros_like(i),
    "align_corners": lambda i, size, new, scale: (
        i * np.float32(size - 1) / np.float32(new - 1) if new > 1 else np.zeros_like(i)
    ),
    "asymmetric": lambda i, size, new, scale: i / scale,
    "half_pixel_symmetric": lambda i, size, new, scale: (
        (i + _HALF) / scale - _HALF + np.float32(size / 2) * (1 - np.float32(new) / (scale * np.float32(size)))
    ),
}
_NEAREST: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda x: np.ceil(x - _HALF),
    "round_prefer_ceil": lambda x: np.floor(x + _HALF),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _resize(node: Node) -> Value:
    x = node.value(0)
    if node.text("mode", "nearest") != "nearest":
        raise unsupported(f"interpolates by mode `{node.text('mode', 'nearest')}`; `nearest` is known")
    if node.op_type == "Upsample" or node.opset < 11:
        where, how = "asymmetric", "floor"
        given, target = node.optional_array(1, "scales"), None
        if given is None and "scales" in node.attributes:
            given = np.array(node.attributes["scales"].floats, np.float32)
    else:
        where, how = (
            node.text("coordinate_transformation_mode", "half_pixel"),
            node.text("nearest_mode", "round_prefer_floor"),
        )
        given, target = node.optional_array(2, "scales"), node.whole_numbers(3, "sizes")
    if where not in _PLACES or how not in _NEAREST or node.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise unsupported(f"places its pixels by `{where}` and `{how}`")
    axes = [node.axis(axis, x.rank) for axis in node.integers("axes") or range(x.rank)]
    scales = None if given is None or given.size == 0 else [float(s) for s in given.reshape(-1)]
    if len(scales if scales is not None else target or ()) != len(axes):
        raise Problem(SHAPES, f"has scales or sizes that do not fit a value of shape {list(x.shape)}")
    for i, axis in enumerate(axes):
        size = x.shape[axis]
        if scales is not None:
            if not 0 < scales[i] <= 2**16:
                raise Problem(SHAPES, f"scales axis {axis} by {scales[i]}")
            scale, new = scales[i], int(np.floor(size * scales[i]))
        else:
            assert target is not None
            new = target[i]
            scale = new / size
        if (new, scale) == (size, 1.0):
            continue
        if not 0 < new <= 2**24:
            raise Problem(SHAPES, f"resizes axis {axis} to {new}")
        places = _NEAREST[how](_PLACES[where](np.arange(new, dtype=np.float32), size, new, np.float32(scale)))
        x = gathered(node, x, axis, np.clip(places, 0, size - 1).astype(np.int64))
    return x


HANDLERS: dict[str, Handler] = {"Resize": _resize, "Upsample": _resize}
