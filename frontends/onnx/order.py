"""The order of nodes: which ones the outputs need, and whether every name is made once and before it is read."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

import onnx
from onnx import AttributeProto


def needed_nodes(nodes: list[onnx.NodeProto], wanted: Iterable[str]) -> dict[int, frozenset[int]]:
    """Which nodes the wanted names need, by index, and which of their outputs are read."""
    names = set(wanted)
    needed: dict[int, frozenset[int]] = {}
    for index in range(len(nodes) - 1, -1, -1):
        proto = nodes[index]
        used = frozenset(i for i, name in enumerate(proto.output) if name and name in names)
        if used:
            needed[index] = used
            names.update(reads(proto))
    return needed


def reads(proto: onnx.NodeProto) -> set[str]:
    """Every name a node reads, those of its inner graphs included."""
    names, stack = set(), [proto]
    while stack:
        node = stack.pop()
        names.update(node.input)
        for attribute in node.attribute:
            for graph in (*((attribute.g,) if attribute.type == AttributeProto.GRAPH else ()), *attribute.graphs):
                stack.extend(graph.node)
                names.update(output.name for output in graph.output)
    return names


def _cyclic(nodes: list[onnx.NodeProto], makers: Mapping[str, int], start: int) -> bool:
    """Whether node `start` needs its own result."""
    seen: set[int] = set()
    stack = [start]
    while stack:
        for name in reads(nodes[stack.pop()]):
            maker = makers.get(name) if name else None
            if maker == start:
                return True
            if maker is not None and maker not in seen:
                seen.add(maker)
                stack.append(maker)
    return False


def order_flaw(
    nodes: list[onnx.NodeProto], outside: Sequence[Container[str]], taken: Container[str]
) -> tuple[str, str] | None:
    """What is wrong with the order, and at which node; None if nothing is.

    `outside` are the names that the nodes may read besides each other's; `taken` are names that none may make.
    """
    makers: dict[str, int] = {}
    for index, proto in enumerate(nodes):
        for name in proto.output:
            if name and (name in makers or name in taken):
                return f"two nodes make `{name}`", proto.name or name
            makers[name] = index
    for index, proto in enumerate(nodes):
        for name in proto.input:
            if not name or any(name in names for names in outside):
                continue
            who = proto.name or f"{proto.op_type}_{proto.output[0] if proto.output else ''}"
            if name not in makers:
                return f"node `{who}` reads `{name}`, which nothing makes", who
            if makers[name] >= index:
                how = "in a cycle" if _cyclic(nodes, makers, index) else "before it is made"
                return f"node `{who}` reads `{name}` {how}", who
    return None
