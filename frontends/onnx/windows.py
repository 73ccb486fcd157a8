"""Convolutions and pools: everything that slides a window over [N, C, *spatial]."""

from __future__ import annotations

from bnnc.frontends.onnx.node import Handler, Node
from bnnc.frontends.onnx.problems import SHAPES, Problem, malformed, unsupported
from bnnc.frontends.onnx.values import Shape, Value
from bnnc.ir import move, nn
from bnnc.ir.op import Op


def _spatial(node: Node, x: Value) -> Shape:
    if x.rank < 3:
        raise Problem(SHAPES, f"slides a window over a value of shape {list(x.shape)}; [N, C, …] is needed")
    return x.shape[2:]


def _per_axis(node: Node, name: str, rank: int) -> Shape:
    found = node.integers(name) or (1,) * rank
    if len(found) != rank or any(n < 1 for n in found):
        raise malformed(f"has {name} {list(found)} for {rank} spatial axes")
    return found


def _pads(node: Node, sizes: Shape, kernel: Shape, strides: Shape, dilations: Shape) -> Shape:
    """Padding as ONNX orders it (all begins, then all ends); `auto_pad` worked out."""
    rank, mode = len(sizes), node.text("auto_pad", "NOTSET")
    if mode == "NOTSET":
        pads = node.integers("pads") or (0,) * (2 * rank)
        if len(pads) != 2 * rank:
            raise malformed(f"has pads {list(pads)} for {rank} spatial axes")
        if any(n < 0 for n in pads):
            raise unsupported("has negative padding")
        return pads
    if mode == "VALID":
        return (0,) * (2 * rank)
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise malformed(f"has auto_pad {mode}")
    short, long = [], []
    for size, window, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        total = max((-(-size // stride) - 1) * stride + dilation * (window - 1) + 1 - size, 0)
        short.append(total // 2)
        long.append(total - total // 2)
    return tuple(short + long) if mode == "SAME_UPPER" else tuple(long + short)


def _kernel(node: Node, rank: int) -> Shape:
    kernel = node.integers("kernel_shape")
    if kernel is None or len(kernel) != rank or any(n < 1 for n in kernel):
        raise malformed(f"has a kernel_shape {kernel} for {rank} spatial axes")
    return kernel


def convolve(node: Node, x: Value, w: Value, bias: Value | None) -> Value:
    """Conv with constant weights."""
    sizes = _spatial(node, x)
    rank = len(sizes)
    if not w.constant or not (bias is None or bias.constant):
        raise unsupported("has weights that are computed from the input")
    if w.rank != rank + 2 or (node.has("kernel_shape") and _kernel(node, rank) != w.shape[2:]):
        raise Problem(SHAPES, f"has weights of shape {list(w.shape)} for a value of shape {list(x.shape)}")
    node.finite(w, "weights")
    strides, dilations = _per_axis(node, "strides", rank), _per_axis(node, "dilations", rank)
    pads = _pads(node, sizes, w.shape[2:], strides, dilations)
    weights = node.whole(w)
    offset = None
    if bias is not None:
        node.finite(bias, "bias")
        offset = node.whole(bias)

    def convolution(op: Op) -> Op:
        return nn.Conv(
            x=op,
            w=weights,
            bias=offset,
            strides=strides,
            pads=pads,
            dilations=dilations,
            groups=node.integer("group", 1),
            loc=node.loc,
        )

    return node.per_image(x, convolution)


def _conv(node: Node) -> Value:
    return convolve(node, node.value(0), node.value(1), node.optional(2))


def _conv_transpose(node: Node) -> Value:
    """As a Conv with the flipped kernel over the input with stride - 1 zeros put between its elements."""
    x, w, bias = node.value(0), node.value(1), node.optional(2)
    sizes = _spatial(node, x)
    rank = len(sizes)
    if not w.constant or not (bias is None or bias.constant):
        raise unsupported("has weights that are computed from the input")
    if w.rank != rank + 2:
        raise Problem(SHAPES, f"has weights of shape {list(w.shape)} for a value of shape {list(x.shape)}")
    node.finite(w, "weights")
    strides, dilations = _per_axis(node, "strides", rank), _per_axis(node, "dilations", rank)
    groups, kernel = node.integer("group", 1), w.shape[2:]
    if groups < 1 or w.shape[0] % groups:
        raise malformed(f"has {groups} groups for {w.shape[0]} channels")
    extra = node.integers("output_padding") or (0,) * rank
    if len(extra) != rank or any(n < 0 for n in extra):
        raise malformed(f"has output_padding {list(extra)} for {rank} spatial axes")
    if node.has("output_shape") or node.text("auto_pad", "NOTSET") != "NOTSET":
        raise unsupported("gives its output size instead of its padding")
    pads = _pads(node, sizes, kernel, strides, dilations)
    before = [dilations[a] * (kernel[a] - 1) - pads[a] for a in range(rank)]
    after = [dilations[a] * (kernel[a] - 1) - pads[rank + a] + extra[a] for a in range(rank)]
    if min(before + after) < 0:
        raise unsupported("pads more than its kernel reaches")
    weights = _flipped(node, node.whole(w), groups)
    if bias is not None:
        node.finite(bias, "bias")
    offset = None if bias is None else node.whole(bias)

    def convolution(op: Op) -> Op:
        spread = _spread(node, op, strides)
        padded = move.Pad(x=spread, pads=(0, *before, 0, *after), loc=node.loc) if any(before + after) else spread
        return nn.Conv(
            x=padded,
            w=weights,
            bias=offset,
            strides=(1,) * rank,
            pads=(0,) * (2 * rank),
            dilations=dilations,
            groups=groups,
            loc=node.loc,
        )

    return node.per_image(x, convolution)


def _flipped(node: Node, weights: Op, groups: int) -> Op:
    """[I, O/g, *kernel] -> [O, I/g, *kernel] with every spatial axis reversed."""
    channels, filters, *kernel = weights.type.shape
    for axis, size in enumerate(kernel, start=2):
        if size > 1:
            weights = node.sliced(weights, axis, size - 1, size, -1)
    split = node.reshaped(weights, (groups, channels // groups, filters, *kernel))
    swapped = node.transposed(split, (0, 2, 1, *range(3, 3 + len(kernel))))
    return node.reshaped(swapped, (groups * filters, channels // groups, *kernel))


def _spread(node: Node, op: Op, strides: Shape) -> Op:
    """[C, *spatial] with strides - 1 zeros after every element of a spatial axis but the last."""
    for axis, stride in enumerate(strides, start=1):
        shape = op.type.shape
        if stride == 1:
            continue
        apart = node.reshaped(op, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
        rank = len(shape) + 1
        ends = tuple(stride - 1 if a == axis + 1 else 0 for a in range(rank))
        filled = move.Pad(x=apart, pads=(0,) * rank + ends, loc=node.loc)
        joined = node.reshaped(filled, (*shape[:axis], shape[axis] * stride, *shape[axis + 1 :]))
        op = node.sliced(joined, axis, 0, (shape[axis] - 1) * stride + 1)
    return op


def pool(node: Node, function: str) -> Value:
    """MaxPool or AveragePool."""
    x = node.value(0)
    sizes = _spatial(node, x)
    rank = len(sizes)
    if node.used - {0}:
        raise unsupported("gives the indices of the maxima")
    kernel, strides, dilations = (
        _kernel(node, rank),
        _per_axis(node, "strides", rank),
        _per_axis(node, "dilations", rank),
    )
    pads = _pads(node, sizes, kernel, strides, dilations)

    def pooling(op: Op) -> Op:
        return nn.Pool(
            x=op,
            function=function,
            kernel=kernel,
            strides=strides,
            pads=pads,
            dilations=dilations,
            ceil_mode=node.integer("ceil_mode", 0) == 1,
            count_include_pad=node.integer("count_include_pad", 0) == 1,
            loc=node.loc,
        )

    return node.per_image(x, pooling)


def _global_pool(function: str) -> Handler:
    def handler(node: Node) -> Value:
        x = node.value(0)
        axes = tuple(range(1, 1 + len(_spatial(node, x))))
        return node.per_image(x, lambda op: nn.Reduce(x=op, function=function, axes=axes, keepdims=True, loc=node.loc))

    return handler


HANDLERS: dict[str, Handler] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": lambda node: pool(node, "max"),
    "AveragePool": lambda node: pool(node, "average"),
    "GlobalAveragePool": _global_pool("mean"),
    "GlobalMaxPool": _global_pool("max"),
}
