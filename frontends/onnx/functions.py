"""Functions that a model defines for itself: a node of the body with the caller's attributes and inputs put in."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import AttributeProto


def filled_in(proto: onnx.NodeProto, attributes: Mapping[str, AttributeProto], missing: set[str]) -> onnx.NodeProto:
    """A node of a function with the caller's attributes put in, and inputs that the caller left out left out."""
    copied = onnx.NodeProto()
    copied.CopyFrom(proto)
    for index, name in enumerate(copied.input):
        if name in missing:
            copied.input[index] = ""
    _substitute(copied, attributes)
    return copied


def _substitute(proto: onnx.NodeProto, attributes: Mapping[str, AttributeProto]) -> None:
    kept = []
    for attribute in proto.attribute:
        if attribute.ref_attr_name:
            if attribute.ref_attr_name not in attributes:
                continue
            filled = AttributeProto()
            filled.CopyFrom(attributes[attribute.ref_attr_name])
            filled.name = attribute.name
            kept.append(filled)
            continue
        for graph in (*((attribute.g,) if attribute.type == AttributeProto.GRAPH else ()), *attribute.graphs):
            for inner in graph.node:
                _substitute(inner, attributes)
        kept.append(attribute)
    copies = []
    for attribute in kept:
        copy = AttributeProto()
        copy.CopyFrom(attribute)
        copies.append(copy)
    del proto.attribute[:]
    proto.attribute.extend(copies)
