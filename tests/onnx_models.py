"""Small ONNX models for tests, built by hand, and their comparison with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bnnc.frontends.onnx import Frontend
from bnnc.ir.module import Module
from bnnc.protocols import ImportOptions
from bnnc.reference.run import run

node: Any = helper.make_node


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Any],
    outputs: Sequence[str],
    constants: Mapping[str, Any] | None = None,
    opset: int = 17,
    **more: Any,
) -> onnx.ModelProto:
    """A model whose inputs are (shape, element type) by name; its constants are numpy arrays."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(name, kind, list(shape)) for name, (shape, kind) in inputs.items()],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in (constants or {}).items()],
    )
    domains = {entry.domain for entry in nodes if entry.domain}
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in sorted(domains))]
    made = helper.make_model(graph, opset_imports=imports, **more)
    made.ir_version = min(made.ir_version, 10)
    return made


def one(op_type: str, shape: Any, constants: Mapping[str, Any] | None = None, **more: Any) -> Any:
    """A model of one node: x and the constants in, y out. `opset` and `outputs` are taken out of the attributes."""
    opset = more.pop("opset", 17)
    outputs = more.pop("outputs", ["y"])
    kind = more.pop("kind", TensorProto.FLOAT)
    given = list(constants or {})
    return model(
        [node(op_type, ["x", *given], outputs, **more)],
        {"x": (shape, kind)},
        [name for name in outputs if name],
        constants,
        opset,
    )


def load(made: onnx.ModelProto, folder: Path, options: ImportOptions | None = None) -> Module:
    """The model as the frontend reads it, by way of a file."""
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return Frontend().load(path, options or ImportOptions())


def expected(made: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What ONNX Runtime computes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def samples(made: onnx.ModelProto, batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Random inputs of the model for a batch: some of them halves and zeros, where rounding and signs turn."""
    random = np.random.default_rng(seed)
    found = {}
    for entry in made.graph.input:
        kind = entry.type.tensor_type
        shape = [batch, *(dim.dim_value for dim in kind.shape.dim[1:])]
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        values: Any
        if dtype.kind == "f":
            values = random.normal(size=shape) * 2
            values = np.where(random.random(shape) < 0.3, np.round(values * 2) / 2, values)
        elif dtype.kind == "b":
            values = random.random(shape) < 0.5
        else:
            values = random.integers(0 if dtype.kind == "u" else -100, 100, shape)
        found[entry.name] = values.astype(dtype)
    return found


def agrees(made: onnx.ModelProto, folder: Path, batch: int = 3, tolerance: float = 1e-5, seed: int = 0) -> Module:
    """Import the model and compare with ONNX Runtime; then see that rows do not depend on the batch."""
    first = made.graph.input[0].type.tensor_type.shape.dim[0]
    batch = first.dim_value or batch
    inputs = samples(made, batch, seed)
    wanted = expected(made, inputs)
    module = load(made, folder)
    found = run(module, inputs)
    assert list(found) == list(wanted)
    doubled = run(module, {name: np.concatenate([array, array]) for name, array in inputs.items()})
    for output in module.outputs:
        rows, other = found[output.name], wanted[output.name]
        assert rows.dtype == other.dtype, (output.name, rows.dtype, other.dtype)
        if rows.shape != other.shape:  # the file dropped the batch axis, or joined it with another one
            assert rows.shape[0] == batch
            assert rows.size == other.size
            rows = rows.reshape(other.shape)
        else:
            twice = np.concatenate([found[output.name]] * 2, output.batch_axis)
            np.testing.assert_array_equal(doubled[output.name], twice)
        np.testing.assert_allclose(
            rows.astype(np.float64), other.astype(np.float64), rtol=tolerance, atol=tolerance, equal_nan=True
        )
    return module
