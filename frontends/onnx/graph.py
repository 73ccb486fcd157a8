"""The walk through the graph: every needed node in order, each through its operator's handler, into a module."""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto

from bnnc.diagnostics import BnncError, error
from bnnc.frontends.onnx import (
    activations,
    einsum,
    elementwise,
    integers,
    matrices,
    microsoft,
    norms,
    picking,
    quantisers,
    reductions,
    reshaping,
    resizing,
    windows,
)
from bnnc.frontends.onnx.functions import filled_in
from bnnc.frontends.onnx.inputs import Inputs, make_inputs, read_inputs, stand_in
from bnnc.frontends.onnx.node import Handler, Node, World
from bnnc.frontends.onnx.order import makers_first, needed_nodes, order_flaw
from bnnc.frontends.onnx.problems import SHAPES, Failure, Problem, as_error, malformed, unsupported
from bnnc.frontends.onnx.reading import opset_of
from bnnc.frontends.onnx.tensors import tensor_value
from bnnc.frontends.onnx.values import Value, equal_along, known
from bnnc.ir.location import Location
from bnnc.ir.module import Module, Note, Output
from bnnc.ir.op import TypeRuleError
from bnnc.protocols import ImportOptions

_STANDARD: dict[str, Handler] = {
    **activations.HANDLERS,
    **einsum.HANDLERS,
    **elementwise.HANDLERS,
    **integers.HANDLERS,
    **matrices.HANDLERS,
    **norms.HANDLERS,
    **picking.HANDLERS,
    **quantisers.HANDLERS,
    **reductions.HANDLERS,
    **reshaping.HANDLERS,
    **resizing.HANDLERS,
    **windows.HANDLERS,
}
_DOMAINS: dict[str, dict[str, Handler]] = {
    "": _STANDARD,
    "ai.onnx": _STANDARD,
    microsoft.DOMAIN: microsoft.HANDLERS,
    **dict.fromkeys(quantisers.DOMAINS, quantisers.QONNX_HANDLERS),
}
_BUDGET = 1_000_000
_DEPTH = 32
_DAMAGED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, AssertionError)
Scope = MutableMapping[str, Value]


def import_model(model: onnx.ModelProto, path: Path, options: ImportOptions) -> Module:
    """The module of a parsed model. A symbolic batch is tried with a prime, then with 1 (as the exporter's example)."""
    inputs = read_inputs(model, options, path.name)
    if inputs.baked is not None:
        return Walk(model, path, options, inputs, inputs.baked, symbolic=False).module()
    try:
        return Walk(model, path, options, inputs, stand_in(model, inputs), symbolic=True).module()
    except BnncError as first:
        # The inputs may say `any batch` while shapes inside insist on the exporter's example of one sample.
        if any(diagnostic.code != SHAPES for diagnostic in first.diagnostics):
            raise
        try:
            return Walk(model, path, options, inputs, 1, symbolic=False).module()
        except BnncError:
            raise first from None


@dataclass
class Scopes:
    """Names in sight at one place of the file, and those whose node failed."""

    values: Scope
    lost: set[str] = field(default_factory=set)
    initialisers: dict[str, onnx.TensorProto] = field(default_factory=dict)


class Walk:
    """One pass over the file with one number for the batch."""

    def __init__(
        self, model: onnx.ModelProto, path: Path, options: ImportOptions, inputs: Inputs, n: int, symbolic: bool
    ) -> None:
        self.model, self.path, self.options, self.inputs = model, path, options, inputs
        self.world = World(path.parent, path.name, n, symbolic)
        self.failures: list[Failure] = []
        self.functions = {(f.domain, f.name): f for f in model.functions}
        self.steps = 0

    def module(self) -> Module:
        """Import everything. Raises BnncError with all problems found."""
        graph = self.model.graph
        values, ops, maps = make_inputs(self.world, self.inputs, self.options)
        scopes = Scopes(ChainMap(values), set(), _initialisers(graph, self.path.name))
        wanted = [output.name for output in graph.output]
        if len(set(wanted)) != len(wanted):
            raise self._broken("the graph gives an output twice", wanted[0])
        self.run(graph.node, scopes, wanted, _versions(self.model.opset_import), "", 0)
        outputs = [] if self.failures else [self._output(name, scopes) for name in wanted]
        if self.failures:
            raise as_error(self.failures)
        return Module(
            name=module_name(self.path.stem),
            inputs=tuple(ops),
            outputs=tuple(outputs),
            notes=tuple(self.world.notes),
            pixels=tuple(maps),
            facts=self._facts(),
        )

    def _facts(self) -> tuple[tuple[str, str], ...]:
        facts = {"source": self.path.name, "opset": str(opset_of(self.model))}
        producer = f"{self.model.producer_name} {self.model.producer_version}".strip()
        if producer:
            facts["producer"] = producer
        if self.inputs.baked is not None:
            facts["baked_batch"] = str(self.inputs.baked)
        return tuple(facts.items())

    def _output(self, name: str, scopes: Scopes) -> Output:
        place = Location(name, self.path.name)
        value = self._read(name, scopes)
        if value is None:
            raise self._broken(f"no node makes the output `{name}`", name)
        value = self._without_batch(value)
        node = Node({}, self.world, "output", "", 0, place, (value,), frozenset())
        try:
            op = node.whole(value)
            if value.constant:
                self.world.notes.append(
                    Note("warning", f"output `{name}` does not depend on the input", place, "B0412")
                )
        except (Problem, TypeRuleError) as reason:
            problem = reason if isinstance(reason, Problem) else Problem(SHAPES, str(reason))
            raise as_error([Failure("output", place, problem)]) from None
        axis = value.batch.axis if value.batch is not None and value.batch.axis is not None else 0
        if value.batch is not None and value.batch.merged:
            self.world.notes.append(
                Note(
                    "info",
                    f"output `{name}` joins the batch with another axis in the file; here the batch is its first axis",
                    place,
                )
            )
            axis = 0
        storage = "float32" if value.dtype == "bfloat16" else value.dtype.replace("int4", "int8")
        return Output(name, op, storage, axis)

    def _without_batch(self, value: Value) -> Value:
        """A constant output that repeats for every sample (ConstantOfShape of the input's shape), for one sample."""
        array = value.array
        if array is None or not array.ndim or len(array) != self.world.n or not equal_along(array, 0):
            return value
        return Value(value.dtype, value.shape[1:], array=array[0], name=value.name)

    def _broken(self, text: str, name: str) -> BnncError:
        return error(
            "B0408",
            f"`{self.path.name}` is not a proper graph: {text}",
            places=(Location(name, self.path.name),),
            helps=(f"python -m onnx.checker {self.path.name}",),
        )

    # ---- names ----

    def _read(self, name: str, scopes: Scopes) -> Value | None:
        found = scopes.values.get(name)
        if found is None and name in scopes.initialisers:
            found = tensor_value(scopes.initialisers[name], self.world.folder)
            scopes.values[name] = found
        return found

    # ---- nodes ----

    def run(
        self,
        nodes: Iterable[onnx.NodeProto],
        scopes: Scopes,
        wanted: Iterable[str],
        versions: Mapping[str, int],
        prefix: str,
        depth: int,
    ) -> None:
        """Import the nodes that `wanted` needs; their results go into the scope."""
        nodes = makers_first(list(nodes))
        needed = needed_nodes(nodes, wanted)
        flaw = order_flaw(nodes, (scopes.values, scopes.initialisers, scopes.lost), scopes.initialisers)
        if flaw is not None:
            raise self._broken(*flaw)
        for index, proto in enumerate(nodes):
            used = needed.get(index)
            if used is None:
                continue
            self.steps += 1
            if self.steps > _BUDGET:
                raise self._broken(f"more than {_BUDGET} nodes, functions written out", proto.name)
            self._import(proto, used, scopes, versions, prefix, depth)

    def _import(
        self,
        proto: onnx.NodeProto,
        used: frozenset[int],
        scopes: Scopes,
        versions: Mapping[str, int],
        prefix: str,
        depth: int,
    ) -> None:
        first = next((name for name in proto.output if name), "")
        place = Location(prefix + (proto.name or f"{proto.op_type}_{first}"), self.path.name)
        try:
            results = self._results(proto, used, scopes, versions, place, depth)
            if results is None:
                scopes.lost.update(proto.output)
                return
            if len(results) <= max(used):
                raise malformed(f"has {len(proto.output)} outputs")
            for index in used:
                scopes.values[proto.output[index]] = results[index]
            return
        except Problem as reason:
            problem = reason
        except TypeRuleError as reason:
            problem = Problem(SHAPES, f"does not fit its inputs: {reason}")
        except _DAMAGED as reason:
            problem = malformed(f"cannot be read: {str(reason) or type(reason).__name__}")
        except MemoryError:
            problem = malformed("needs more memory than there is")
        self.failures.append(Failure(proto.op_type, place, problem))
        scopes.lost.update(proto.output)

    def _results(
        self,
        proto: onnx.NodeProto,
        used: frozenset[int],
        scopes: Scopes,
        versions: Mapping[str, int],
        place: Location,
        depth: int,
    ) -> tuple[Value, ...] | None:
        """What the node gives; None if an input failed before."""
        function = self.functions.get((proto.domain, proto.op_type))
        handlers = _DOMAINS.get(proto.domain, {})
        special = proto.domain in ("", "ai.onnx") and proto.op_type in ("Constant", "If")
        if function is None and proto.domain == microsoft.BLOCKED_DOMAIN:
            raise unsupported(
                "is laid out for one processor by ONNX Runtime, in blocks whose size the file does not tell "
                "(use the original model, or save it with graph_optimization_level = ORT_ENABLE_EXTENDED)"
            )
        if function is None and proto.op_type not in handlers and not special:
            domain = f" of the domain `{proto.domain}`" if proto.domain not in ("", "ai.onnx") else ""
            raise unsupported(f"is not an operator that bnnc knows{domain}")
        if any(name in scopes.lost for name in proto.input):
            return None
        inputs = tuple(self._read(name, scopes) if name else None for name in proto.input)
        node = Node(
            attributes={attribute.name: attribute for attribute in proto.attribute},
            world=self.world,
            op_type=proto.op_type,
            domain=proto.domain,
            opset=versions.get(proto.domain, versions.get("", 1)),
            loc=place,
            inputs=inputs,
            used=used,
            outputs=len(proto.output),
        )
        if function is not None:
            return self._call(function, node, depth)
        if proto.op_type == "Constant" and special:
            return (_constant(node),)
        if proto.op_type == "If" and special:
            return self._branch(node, scopes, versions, depth)
        found = handlers[proto.op_type](node)
        return found if isinstance(found, tuple) else (found,)

    def _branch(self, node: Node, scopes: Scopes, versions: Mapping[str, int], depth: int) -> tuple[Value, ...] | None:
        """The branch that a constant condition takes."""
        condition = node.value(0)
        if condition.array is None:
            raise unsupported("has a condition that depends on the input")
        if condition.array.size != 1 or depth > _DEPTH:
            raise malformed("has a condition that is not a single value, or is nested too deeply")
        chosen = node.attributes.get("then_branch" if bool(condition.array.reshape(())) else "else_branch")
        if chosen is None or chosen.type != AttributeProto.GRAPH:
            raise malformed("lacks a branch")
        inner = Scopes(
            ChainMap({}, scopes.values),
            set(scopes.lost),
            {**scopes.initialisers, **_initialisers(chosen.g, self.path.name)},
        )
        return self._inside(chosen.g.node, [output.name for output in chosen.g.output], inner, versions, node, depth)

    def _call(self, function: onnx.FunctionProto, node: Node, depth: int) -> tuple[Value, ...] | None:
        """A function of the model, written out."""
        if depth > _DEPTH:
            raise malformed("calls functions that are nested too deeply, or call themselves")
        given = {name: value for name, value in zip(function.input, node.inputs, strict=False) if value is not None}
        missing = {name for name in function.input if name not in given}
        defaults = {attribute.name: attribute for attribute in function.attribute_proto}
        attributes = {**defaults, **node.attributes}
        nodes = [filled_in(proto, attributes, missing) for proto in function.node]
        return self._inside(
            nodes, list(function.output), Scopes(ChainMap(given)), _versions(function.opset_import), node, depth
        )

    def _inside(
        self,
        nodes: Iterable[onnx.NodeProto],
        outputs: list[str],
        scopes: Scopes,
        versions: Mapping[str, int],
        node: Node,
        depth: int,
    ) -> tuple[Value, ...] | None:
        wanted = [outputs[index] for index in sorted(node.used) if index < len(outputs)]
        self.run(nodes, scopes, wanted, versions, f"{node.loc.name}/", depth + 1)
        if any(name in scopes.lost for name in wanted):
            return None
        found: list[Value] = []
        for index, name in enumerate(outputs):
            value = self._read(name, scopes) if index in node.used else known(np.array(0, np.float32), "float32")
            if value is None:
                raise malformed(f"gives `{name}`, which no node inside makes")
            found.append(value)
        return tuple(found)


def _initialisers(graph: onnx.GraphProto, file: str) -> dict[str, onnx.TensorProto]:
    if graph.sparse_initializer:
        raise error(
            "B0401",
            f"`{file}` stores weights as sparse tensors, which bnnc does not read",
            places=(Location(graph.sparse_initializer[0].values.name, file),),
            helps=("export the model with dense weights",),
        )
    return {tensor.name: tensor for tensor in graph.initializer}


def _versions(imports: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    return {("" if entry.domain == "ai.onnx" else entry.domain): int(entry.version) for entry in imports}


def _constant(node: Node) -> Value:
    """Constant: a tensor, or numbers in an attribute."""
    tensor = node.tensor("value")
    if tensor is not None:
        return Value(tensor.dtype, tensor.shape, array=tensor.array, name=tensor.name or node.loc.name)
    if node.has("value_float"):
        return node.known(np.float32(node.number("value_float", 0.0)), "float32")
    if node.has("value_int"):
        return node.known(np.int64(node.integer("value_int", 0)), "int64")
    if node.has("value_ints"):
        return node.known(np.array(node.integers("value_ints"), np.int64), "int64")
    if node.has("value_floats"):
        return node.known(np.array(node.attributes["value_floats"].floats, np.float32), "float32")
    raise unsupported("holds a sparse tensor or a text")


def operators() -> set[str]:
    """Every operator that can be read, of all domains."""
    return {"Constant", "If"}.union(*_DOMAINS.values())


def module_name(stem: str) -> str:
    """A name that every target's language accepts."""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", stem).strip("_") or "model"
    return f"net_{name}" if name[0].isdigit() else name
