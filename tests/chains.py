"""Random small binary networks as exporters write them: chains of quantisers, layers, pools and norms in ONNX.

Every draw is a whole ONNX file's worth of nodes, with the number of layers that must be packed: those with binary or
low-bit weights whose input is provably a few integers, whatever the spelling.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from tests.onnx_models import model, node

F = np.float32


class Chain:
    """Nodes and constants so far; `value` is the name of the last result, of shape [batch, *shape]."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.packed = 0
        self.integer = False
        pictures = bool(rng.integers(4))
        channels = int(rng.choice([1, 3, 17, 33]))
        self.shape = (channels, *(int(n) for n in rng.integers(5, 10, rng.integers(1, 3)))) if pictures else (channels,)
        kind = int(rng.choice([TensorProto.FLOAT, TensorProto.INT8, TensorProto.UINT8]))
        self.input = ((("n", *self.shape)), kind)
        self.value = "x"
        if kind != TensorProto.FLOAT:
            self.put("Cast", to=TensorProto.FLOAT)
            self.integer = True
            if kind == TensorProto.UINT8 and rng.random() < 0.7:
                self.put("Div", 255)
                self.integer = bool(rng.random() < 0.5)
                if not self.integer:  # a normalised picture: a lattice with an offset
                    self.put("Sub", 0.1307)
                    self.put("Div", 0.3081)
                    self.integer = True

    # ---- nodes ----

    def put(self, op_type: str, *operands: Any, first: str | None = None, **attributes: Any) -> str:
        """A node that reads the value (or `first`), then names or constants; its result becomes the value."""
        names = [first or self.value]
        for operand in operands:
            if isinstance(operand, str):
                names.append(operand)
            else:
                names.append(f"c{len(self.constants)}")
                dtype = np.int64 if op_type == "Reshape" else F
                self.constants[names[-1]] = np.asarray(operand, dtype)
        self.value = f"v{len(self.nodes)}"
        self.nodes.append(node(op_type, names, [self.value], **attributes))
        return self.value

    def per_channel(self, values: np.ndarray) -> np.ndarray:
        """[C], shaped so that it broadcasts."""
        return np.array(values, F).reshape(-1, *(1,) * (len(self.shape) - 1))

    def pick(self, *choices: Any) -> Any:
        """One of the choices."""
        return choices[int(self.rng.integers(len(choices)))]

    # ---- parts ----

    def quantise(self) -> None:
        """A sign in one of its spellings, ternary or a code of two bits."""
        spelling = self.pick(*SPELLINGS)
        SPELLINGS[spelling](self, self.value)
        self.integer = True

    def weights(self, *shape: int) -> np.ndarray:
        """±1, ±s a channel, ternary, or of a few bits; sometimes with a channel of zeros."""
        rng, filters = self.rng, (shape[0], *(1,) * (len(shape) - 1))
        bits = int(rng.choice([1, 1, 1, 2, 3, 8]))
        high = 2 ** (bits - 1) - 1
        values = np.where(rng.random(shape) < 0.5, -1, 1) if bits == 1 else rng.integers(-high, high + 1, shape)
        scaled = np.array(values * self.pick(1.0, 0.37, rng.random(filters) + 0.05), F)
        if rng.random() < 0.1:
            scaled[0] = 0
        return scaled

    def layer(self) -> None:
        """A binary layer, with or without bias; for pictures of any kernel, stride, dilation, padding and groups."""
        rng = self.rng
        filters = int(rng.choice([1, 5, 32, 33]))
        bias = (rng.normal(size=filters).astype(F),) if rng.random() < 0.3 else ()
        if len(self.shape) == 1:
            if bias:
                self.put("Gemm", self.weights(filters, self.shape[0]), *bias, transB=1)
            else:
                self.put("MatMul", self.weights(filters, self.shape[0]).T)
            self.shape = (filters,)
        else:
            self._conv(filters, bias)
        self.packed += self.integer
        self.integer = False

    def _conv(self, filters: int, bias: tuple[np.ndarray, ...]) -> None:
        rng, axes = self.rng, len(self.shape) - 1
        kernel, strides, dilations = ([int(n) for n in rng.integers(1, end, axes)] for end in (4, 3, 3))
        pads = [int(n) for n in rng.integers(0, 3, 2 * axes)] if rng.random() < 0.6 else [0] * (2 * axes)
        sizes = [
            (n + pads[a] + pads[axes + a] - (kernel[a] - 1) * dilations[a] - 1) // strides[a] + 1
            for a, n in enumerate(self.shape[1:])
        ]
        if min(sizes) < 1:
            kernel, dilations, pads, strides, sizes = (
                [1] * axes,
                [1] * axes,
                [0] * 2 * axes,
                [1] * axes,
                [*self.shape[1:]],
            )
        divisors = [n for n in range(1, self.shape[0] + 1) if self.shape[0] % n == 0]
        groups = int(rng.choice(divisors)) if rng.random() < 0.3 else 1
        filters = groups * max(1, filters // groups)
        self.put(
            "Conv",
            self.weights(filters, self.shape[0] // groups, *kernel),
            *((np.resize(bias[0], filters),) if bias else ()),
            kernel_shape=kernel,
            strides=strides,
            dilations=dilations,
            pads=pads,
            group=groups,
        )
        self.shape = (filters, *sizes)

    def norm(self) -> None:
        """Batch norm, some of its gains negative or 0; or a scale and an offset."""
        rng, count = self.rng, self.shape[0]
        gain, bias, mean = (rng.normal(size=count).astype(F) for _ in range(3))
        gain[rng.random(count) < 0.05] = 0
        if rng.random() < 0.7:
            self.put("BatchNormalization", gain, bias, mean * F(3), (rng.random(count) * 20 + 0.5).astype(F))
        else:
            self.put("Mul", self.per_channel(gain))
            self.put("Add", self.per_channel(bias))

    def pool(self) -> None:
        """A maximum or an average of windows that may overlap and be padded."""
        axes = len(self.shape) - 1
        if not axes or min(self.shape[1:]) < 3:
            return
        kernel, strides, pads = (
            [int(n) for n in self.rng.integers(low, high, axes)] for low, high in ((2, 4), (1, 4), (0, 2))
        )
        kind = self.pick("MaxPool", "MaxPool", "AveragePool")
        more: dict[str, Any] = {"count_include_pad": int(self.rng.integers(2))} if kind == "AveragePool" else {}
        self.put(kind, kernel_shape=kernel, strides=strides, pads=[*pads, *pads], **more)
        sizes = ((n + 2 * pads[a] - kernel[a]) // strides[a] + 1 for a, n in enumerate(self.shape[1:]))
        self.shape = (self.shape[0], *sizes)

    def activation(self) -> None:
        """What nets have between a norm and a sign."""
        match self.pick("PRelu", "Relu", "Clip", "LeakyRelu"):
            case "PRelu":
                self.put("PRelu", self.per_channel(self.rng.normal(size=self.shape[0]) * 0.5))
            case "Clip":
                self.put("Clip", -1.5, 2.0)
            case name:
                self.put(name)


def _where(greater: str) -> Callable[[Chain, str], Any]:
    def put(chain: Chain, x: str) -> None:
        condition = chain.put(greater, 0.0, first=x)
        chain.constants |= {"one": np.array(1, F), "minus": np.array(-1, F)}
        chain.put("Where", "one", "minus", first=condition)

    return put


def _cast(comparison: str, gain: float, offset: float) -> Callable[[Chain, str], Any]:
    def put(chain: Chain, x: str) -> None:
        chain.put(comparison, 0.0, first=x)
        chain.put("Cast", to=TensorProto.FLOAT)
        chain.put("Mul", gain)
        chain.put("Add", offset)

    return put


def _then(*steps: tuple[Any, ...]) -> Callable[[Chain, str], Any]:
    def put(chain: Chain, x: str) -> None:
        for step in steps:
            chain.put(*step)

    return put


def _detached(chain: Chain, x: str) -> None:
    sign = chain.put("Sign", first=x)
    clipped = chain.put("Clip", -1.0, 1.0, first=x)
    chain.put("Sub", clipped, first=sign)
    chain.put("Add", clipped)


def _mended(chain: Chain, x: str) -> None:
    sign = chain.put("Sign", first=x)
    chain.put("Equal", 0.0, first=x)
    zero = chain.put("Cast", to=TensorProto.FLOAT)
    chain.put("Add", zero, first=sign)


SPELLINGS: dict[str, Callable[[Chain, str], Any]] = {
    "sign": _then(("Sign",)),
    "larq": _then(("Sign",), ("Add", 0.1), ("Sign",)),
    "shifted": _then(("Add", 1e-3), ("Sign",)),
    "hardtanh": _then(("Clip", -1.0, 1.0), ("Sign",)),
    "heaviside": _then(("Relu",), ("Sign",)),
    "round": _then(("Add", 1.0), ("Div", 2.0), ("Clip", 0.0, 1.0), ("Round",), ("Mul", 2.0), ("Sub", 1.0)),
    "floor": _then(("Floor",), ("Add", 1.0), ("Clip", 0.0, 1.0), ("Mul", 2.0), ("Sub", 1.0)),
    "ternary": _then(("Clip", -1.0, 1.0), ("Round",)),
    "two bits": _then(("Clip", 0.0, 1.0), ("Mul", 3.0), ("Round",), ("Div", 3.0)),
    "not less": _where("GreaterOrEqual"),
    "greater": _where("Greater"),
    "cast": _cast("GreaterOrEqual", 2.0, -1.0),
    "cast less": _cast("Less", -2.0, 1.0),
    "detached": _detached,
    "mended": _mended,
}


def random_chain(seed: int) -> tuple[onnx.ModelProto, int]:
    """A model, and how many of its layers must be packed."""
    rng = np.random.default_rng(seed)
    chain = Chain(rng)
    if not chain.integer or rng.random() < 0.5:
        chain.quantise()
    for number in range(int(rng.integers(1, 4))):
        if number:
            chain.quantise()
            if rng.random() < 0.2:
                chain.pool()
        chain.layer()
        parts = [
            part
            for part, share in ((chain.norm, 0.8), (chain.pool, 0.4), (chain.activation, 0.3))
            if rng.random() < share
        ]
        for index in rng.permutation(len(parts)):
            parts[int(index)]()
    if len(chain.shape) > 1 and rng.random() < 0.7:
        chain.quantise()
        chain.put("Flatten")
        chain.shape = (int(np.prod(chain.shape)),)
        chain.layer()
    return model(chain.nodes, {"x": chain.input}, [chain.value], chain.constants), chain.packed
