"""The order of nodes: makers before readers, which ones the outputs need, and whether every name is made once."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

import onnx
from onnx import AttributeProto


def makers_first(nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The nodes, moved as little as it takes for each to stand behind those that it reads; cycles stay as they are.

    The format demands this order, but tools such as the float16 converter of ONNX Runtime leave it broken.
    """
    makers = {name: index for index, proto in enumerate(nodes) for name in proto.output if name}
    sources = [sorted({makers[name] for name in reads(proto) if name in makers}) for proto in nodes]
    if all(not found or found[-1] < index for index, found in enumerate(sources)):
        return nodes
    placed: dict[int, None] = {}
    started: set[int] = set()
    stack = [(index, False) for index in reversed(range(len(nodes)))]
    while stack:
        index, ready = stack.pop()
        if ready:
            placed[index] = None
        elif index not in started:
            started.add(index)
            stack.append((index, True))
            stack.extend((source, False) for source in reversed(sources[index]))
    return [nodes[index] for index in placed]


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


def order_flaw(
    nodes: list[onnx.NodeProto], outside: Sequence[Container[str]], taken: Container[str]
) -> tuple[str, str] | None:
    """What is wrong with nodes that `makers_first` has ordered, and at which node; None if nothing is.

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
                return f"node `{who}` reads `{name}` in a cycle", who
    return None
