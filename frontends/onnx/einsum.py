"""Einsum of one or two operands, as a transposition, a matrix product and another transposition."""

from __future__ import annotations

import re

from bnnc.frontends.onnx.matrices import matmul
from bnnc.frontends.onnx.node import Handler, Node
from bnnc.frontends.onnx.problems import SHAPES, Problem, malformed, unsupported
from bnnc.frontends.onnx.reductions import reduce
from bnnc.frontends.onnx.reshaping import reshape, transpose
from bnnc.frontends.onnx.values import Value, elements


def _einsum(node: Node) -> Value:
    equation = node.text("equation", "").replace(" ", "")
    match = re.fullmatch(r"([A-Za-z]*(?:,[A-Za-z]*)*)(?:->([A-Za-z]*))?", equation)
    if match is None:
        raise unsupported(f"has the equation `{equation}`")
    terms, values = match[1].split(","), [node.value(i) for i in range(len(node.inputs))]
    labels = match[1].replace(",", "")
    wanted = match[2] if match[2] is not None else "".join(sorted(c for c in set(labels) if labels.count(c) == 1))
    if len(terms) != len(values) or not set(wanted) <= set(labels) or len(set(wanted)) != len(wanted):
        raise malformed(f"has the equation `{equation}` for {len(values)} operands")
    if len(values) > 2 or any(len(set(term)) != len(term) for term in terms):
        raise unsupported(f"has the equation `{equation}`")
    sizes: dict[str, int] = {}
    for term, value in zip(terms, values, strict=True):
        if len(term) != value.rank or any(sizes.setdefault(c, n) != n for c, n in zip(term, value.shape, strict=True)):
            raise Problem(SHAPES, f"has the equation `{equation}` for shapes {[list(v.shape) for v in values]}")
    summed = [
        _summed(node, value, term, wanted + "".join(terms[:i] + terms[i + 1 :]))
        for i, (value, term) in enumerate(zip(values, terms, strict=True))
    ]
    value, term = summed[0] if len(summed) == 1 else _product(node, summed[0], summed[1], wanted, sizes)
    return transpose(node, value, tuple(term.index(c) for c in wanted))


def _summed(node: Node, value: Value, term: str, kept: str) -> tuple[Value, str]:
    """The operand without the axes that nothing else has."""
    axes = [axis for axis, c in enumerate(term) if c not in kept]
    return reduce(node, value, "sum", axes, keepdims=False), "".join(c for c in term if c in kept)


def _product(
    node: Node, left: tuple[Value, str], right: tuple[Value, str], wanted: str, sizes: dict[str, int]
) -> tuple[Value, str]:
    """The matrix product over the labels that both operands have and the result does not."""
    (a, first), (b, second) = left, right
    both = [c for c in first if c in second and c in wanted]
    inner = [c for c in first if c in second and c not in wanted]
    rows, columns = [c for c in first if c not in second], [c for c in second if c not in first]

    def arranged(value: Value, term: str, *groups: list[str]) -> Value:
        value = transpose(node, value, tuple(term.index(c) for group in groups for c in group))
        lead = tuple(sizes[c] for c in groups[0])
        return reshape(node, value, (*lead, *(elements(tuple(sizes[c] for c in group)) for group in groups[1:])))

    y = matmul(node, arranged(a, first, both, rows, inner), arranged(b, second, both, inner, columns))
    order = [*both, *rows, *columns]
    return reshape(node, y, tuple(sizes[c] for c in order)), "".join(order)


HANDLERS: dict[str, Handler] = {"Einsum": _einsum}
