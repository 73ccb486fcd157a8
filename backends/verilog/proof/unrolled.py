"""The proof of an unrolled engine: every neuron of every layer, for all inputs, from the text of its Verilog.

For a layer in the middle, every output bit is shown to be `Σ weights * input bits >= threshold`; over all sums that can
occur, the values of these bits are the values of the layer's step. For sums as results, the raw number is shown to be
the sum. That every cell joins bits of one sample only (registers) is checked while the text is elaborated.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from bnnc.backends.verilog.design import Stream
from bnnc.backends.verilog.proof.circuit import Bit, Circuit, Misaligned, elaborated
from bnnc.backends.verilog.proof.linear import Linear, Rewriter, Unproven
from bnnc.backends.verilog.proof.reader import Instance, Name, Unreadable, read
from bnnc.backends.verilog.unrolled.layers import DenseLayer, Elements, elements_of

# Layers of up to so many input bits are also proven by trying all inputs, where rewriting does not see through them.
EXHAUSTIVE = 14
# More than any sum.
LARGE = 1 << 62


@dataclass(frozen=True, eq=False)
class Claim:
    """What is proven: the engine `name` computes the layers, from raw numbers of `source` to those of `result`.

    hidden: for each layer but the last, the elements that the bits of the core's signal l1, l2, … stand for. They are
    no assumptions: the proof shows that the bits have these values.
    """

    name: str
    layers: Sequence[DenseLayer]
    source: Stream
    result: Stream
    hidden: Sequence[Elements]


@dataclass(frozen=True)
class Proof:
    """What was proven: neurons of each layer, latency in cycles, and cells of the circuit."""

    neurons: tuple[int, ...]
    inputs: tuple[int, ...]
    latency: int
    tables: int


@dataclass(eq=False)
class Refuted(Exception):
    """A statement that was not proven, and where."""

    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


def prove(claim: Claim, files: Mapping[str, str]) -> Proof:
    """Proves the claim about the text of files. Raises Refuted with the first statement that does not hold."""
    try:
        modules = read("\n".join(files[name] for name in sorted(files)))
        circuit = Circuit()
        inputs: list[Bit] = [(2 * circuit.input(), 0) for _ in range(claim.source.bits)]
        core = f"{claim.name}_core"
        if core not in modules:
            raise Unreadable(f"no module `{core}`")
        cuts: dict[str, list[Bit]] = {f"l{number}": [] for number in range(1, len(claim.layers))}
        signals = elaborated(modules, core, circuit, {"in": inputs}, cuts)
    except (Unreadable, Misaligned) as reason:
        raise Refuted(claim.name, str(reason)) from None
    rewriter = Rewriter(circuit)
    layer_bits, elements = inputs, elements_of(claim.source)
    ends = np.array(claim.source.raw_range, np.int64) * claim.source.multiplier + claim.source.offset
    limits = np.broadcast_to(ends, (claim.source.lanes, 2))
    for number, layer in enumerate(claim.layers):
        last = number + 1 == len(claim.layers)
        name = "out" if last else f"l{number + 1}"
        if name not in signals and (last or claim.hidden[number].bits):
            raise Refuted(layer.name, f"the core has no signal {name}")
        outputs = signals.get(name, [])
        cycles = {cycle for _, cycle in outputs if cycle is not None}
        if len(cycles) > 1:
            raise Refuted(layer.name, f"its outputs are valid in the cycles {sorted(cycles)}")
        neurons = _Layer(layer, elements, [bit for bit, _ in layer_bits], limits, rewriter)
        if last:
            neurons.results([bit for bit, _ in outputs], claim.result)
        else:
            neurons.elements([bit for bit, _ in outputs], claim.hidden[number])
            layer_bits, elements = cuts[name], claim.hidden[number]
            limits = neurons.limits_of_values()
    latency = _engine(modules[claim.name].instances if claim.name in modules else [], claim)
    for _, cycle in signals["out"]:
        if cycle not in (None, latency):
            raise Refuted(claim.name, f"bnnc_pipeline waits for {latency} cycles, but the core takes {cycle}")
    counts = tuple(len(layer.weights) for layer in claim.layers)
    widths = tuple(layer.weights.shape[1] for layer in claim.layers)
    return Proof(counts, widths, latency, sum(cell is not None for cell in circuit.tables))


class _Layer:
    """The rows of a layer over the nodes of the circuit that carry its inputs, and the proofs about its outputs.

    bits: its inputs, each a node of its own or a constant. limits: int64 [K, 2], the least and the greatest value of
    each of its input elements.
    """

    def __init__(
        self, layer: DenseLayer, inputs: Elements, bits: list[int], limits: np.ndarray, rewriter: Rewriter
    ) -> None:
        self.layer = layer
        self.limits = limits
        self.rewriter = rewriter
        weights = layer.weights.astype(np.int64)
        rows = weights[:, inputs.element] * inputs.coefficient
        fixed = np.array([bit <= 1 for bit in bits], bool)
        ones = np.array([bit == 1 for bit in bits], bool)
        self.constants = weights @ inputs.offset + rows[:, ones].sum(1)
        self.rows = rows[:, ~fixed]
        self.nodes = [bit >> 1 for bit in bits if bit > 1]
        self.stop = frozenset(self.nodes)
        self._reached: dict[int, np.ndarray] = {}
        self._vectors: dict[int, np.ndarray] = {}

    def elements(self, bits: list[int], claimed: Elements) -> None:
        """Proves that the bits have the values of the elements. Raises Refuted."""
        if len(bits) != claimed.bits or len(claimed.offset) != len(self.rows):
            raise Refuted(self.layer.name, f"it has {len(bits)} output bits, not {claimed.bits}")
        for n in range(len(self.rows)):
            own = [b for b in range(claimed.bits) if claimed.element[b] == n]
            terms = [(bits[b], int(claimed.coefficient[b])) for b in own]
            self._neuron(n, terms, int(claimed.offset[n]), 0)

    def results(self, bits: list[int], result: Stream) -> None:
        """Proves that the bits are the raw numbers of the values. Raises Refuted."""
        if len(bits) != result.width * len(self.rows):
            raise Refuted(self.layer.name, f"it has {len(bits)} output bits, not {result.bits}")
        low, high = result.raw_range
        for n in range(len(self.rows)):
            raw, rest = np.divmod(self._range(n) - result.offset, result.multiplier)
            if rest.any() or raw.min() < low or raw.max() > high:
                raise Refuted(self._at(n), "its values do not fit the stream of results")
            own = bits[n * result.width : (n + 1) * result.width]
            terms = [(bit, result.multiplier << place) for place, bit in enumerate(own)]
            self._neuron(n, terms, result.offset, result.multiplier << result.width)

    def limits_of_values(self) -> np.ndarray:
        """The least and the greatest value of each neuron of a layer with thresholds."""
        values = self.layer.values
        assert values is not None
        ends = np.stack([values.min(1), values.max(1)], axis=1).astype(np.int64)
        return np.broadcast_to(ends, (len(self.rows), 2))

    def _neuron(self, n: int, terms: list[tuple[int, int]], offset: int, modulus: int) -> None:
        """Proves offset + Σ factor * bit = the value of neuron n (modulo a number, if not 0). Raises Refuted."""
        try:
            if self.layer.thresholds is None:
                self._total(n, terms, offset, modulus)
                return
            sums = self._sums(n)
            found = offset + self._stepped(n, terms)
        except Unproven as reason:
            if len(self.nodes) > EXHAUSTIVE:
                raise Refuted(self._at(n), str(reason)) from None
            sums, found = self._everything(n, terms)
            found = found + offset
        wanted = self._values(n, sums)
        difference = found - wanted
        wrong = np.flatnonzero(difference % modulus if modulus else difference)
        if len(wrong):
            first = wrong[0]
            raise Refuted(self._at(n), f"gives {found[first]} for the sum {sums[first]}, not {wanted[first]}")

    def _at(self, n: int) -> str:
        return f"{self.layer.name}, neuron {n}"

    def _sums(self, n: int) -> np.ndarray:
        """Every number that acc of neuron n can be, if its input bits are any."""
        if n not in self._reached:
            reached = 1
            for weight in self.rows[n].tolist():
                reached |= reached << abs(weight)
            digits = np.frombuffer(reached.to_bytes(reached.bit_length() // 8 + 1, "little"), np.uint8)
            lowest = np.minimum(self.rows[n], 0).sum() + self.constants[n]
            self._reached[n] = np.flatnonzero(np.unpackbits(digits, bitorder="little")) + lowest
        return self._reached[n]

    def _range(self, n: int) -> np.ndarray:
        """The least and the greatest acc of neuron n, or all its values."""
        if self.layer.values is not None:
            return np.asarray(np.unique(self._values(n, self._sums(n))))
        ends = np.sort(self.layer.weights[n].astype(np.int64)[:, None] * self.limits, axis=1)
        return np.asarray(ends.sum(0))

    def _values(self, n: int, sums: np.ndarray) -> np.ndarray:
        """The values of neuron n for sums."""
        if self.layer.thresholds is None or self.layer.values is None:
            return sums
        thresholds = self.layer.thresholds[n % len(self.layer.thresholds)].astype(np.int64)
        values = self.layer.values[n % len(self.layer.values)].astype(np.int64)
        return np.asarray(values[np.searchsorted(thresholds, sums, side="right")])

    def _stepped(self, n: int, terms: list[tuple[int, int]]) -> np.ndarray:
        """Σ factor * bit for every sum of neuron n; the bits compare it, or count such comparisons. Raises Unproven."""
        try:
            result = np.zeros(len(self._sums(n)), np.int64)
            for bit, factor in terms:
                result += factor * self._comparison(n, bit)
            return result
        except Unproven:
            result = np.full(len(self._sums(n)), sum(bit * factor for bit, factor in terms if bit <= 1), np.int64)
            terms = [(bit, factor) for bit, factor in terms if bit > 1]
        unit = min((factor for _, factor in terms), key=abs)
        powers = {factor // unit: factor for _, factor in terms}
        if len(powers) < len(terms) or any(p * unit != f or p <= 0 or p & (p - 1) for p, f in powers.items()):
            raise Unproven("its bits are no binary number")
        # The number is below twice its highest power, so it is known if it is known modulo that.
        modulus = 2 * max(powers)
        counted = self.rewriter.sum([(bit, factor // unit) for bit, factor in terms], modulus, self.stop)
        if counted.coefficients.keys() <= {bit >> 1 for bit, _ in terms}:
            raise Unproven("a bit is neither a comparison nor a count of comparisons")
        total = np.full(len(result), counted.constant, np.int64)
        for node, factor in counted.coefficients.items():
            total += factor * self._comparison(n, 2 * node)
        return result + unit * (total % modulus)

    def _comparison(self, n: int, bit: int) -> np.ndarray:
        """The bit (int64) for every sum of neuron n, if it is a comparison of that sum. Raises Unproven."""
        sums = self._sums(n)
        if bit <= 1:
            return np.full(len(sums), bit, np.int64)
        linear = self.rewriter.comparison(bit, self.stop)
        weights = {node: int(weight) for node, weight in zip(self.nodes, self.rows[n], strict=True) if weight}
        if not linear.coefficients.keys() <= weights.keys():
            raise Unproven("it depends on other inputs than its weights say")
        ratios = Counter(Fraction(factor, weights[node]) for node, factor in linear.coefficients.items())
        if not ratios:
            raise Unproven("it depends on no input")
        # bit = [ratio * l + constant >= 0], l having nearly the layer's weights: what is left is a small `rest`.
        ratio = ratios.most_common(1)[0][0]
        near = {node: Fraction(linear.coefficients.get(node, 0)) / ratio for node in weights}
        if any(weight.denominator > 1 for weight in near.values()):
            raise Unproven("its inputs have other weights than the layer")
        rests = [weight - int(near[node]) for node, weight in weights.items()]
        low, high = sum(min(rest, 0) for rest in rests), sum(max(rest, 0) for rest in rests)
        unit = math.gcd(*(int(weight) for weight in near.values()))
        # l is a multiple of unit. Where it reaches `at`, the neuron's sum is at least at + low; elsewhere it is at most
        # at - unit + high. Any threshold between the two is the same comparison.
        edge = -linear.constant / ratio
        at = unit * (math.ceil(edge / unit) if ratio > 0 else math.floor(edge / unit) + 1)
        if at - unit + high >= at + low:
            raise Unproven("its inputs have other weights than the layer")
        reached = sums - self.constants[n] >= max(-LARGE, min(LARGE, at + low))
        return np.asarray(reached == (ratio > 0), np.int64)

    def _total(self, n: int, terms: list[tuple[int, int]], offset: int, modulus: int) -> None:
        """Proves offset + Σ factor * bit = acc modulo a number. Raises Unproven."""
        found = self.rewriter.sum(terms, modulus, self.stop)
        factors = {node: int(weight) % modulus for node, weight in zip(self.nodes, self.rows[n], strict=True)}
        constant = (int(self.constants[n]) - offset) % modulus
        if found != Linear({node: one for node, one in factors.items() if one}, constant):
            raise Unproven("its sum has other weights than the layer")

    def _everything(self, n: int, terms: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
        """The sum of neuron n and Σ factor * bit, for all inputs of a small layer, one after the other."""
        rows = np.arange(1 << len(self.nodes))[:, None] >> np.arange(len(self.nodes)) & 1
        if not self._vectors:
            self._vectors = {0: np.zeros(len(rows), np.int64)}
            self._vectors.update((node, rows[:, i]) for i, node in enumerate(self.nodes))
        found = np.zeros(len(rows), np.int64)
        for bit, factor in terms:
            found += factor * (self._vector(bit >> 1) ^ (bit & 1))
        return rows @ self.rows[n] + self.constants[n], found

    def _vector(self, node: int) -> np.ndarray:
        """The node for all inputs."""
        stack = [node]
        while stack:
            at = stack[-1]
            if at in self._vectors:
                stack.pop()
                continue
            cell = self.rewriter.circuit.tables[at]
            if cell is None:
                raise Refuted(self.layer.name, "it depends on more than its inputs")
            missing = [one for one in cell[1] if one not in self._vectors]
            stack += missing
            if not missing:
                table = np.array([cell[0] >> row & 1 for row in range(1 << len(cell[1]))], np.int64)
                index = np.zeros(1 << len(self.nodes), np.int64)
                for i, one in enumerate(cell[1]):
                    index |= self._vectors[one] << i
                self._vectors[at] = np.asarray(table[index])
        return self._vectors[node]


def _engine(instances: Sequence[Instance], claim: Claim) -> int:
    """Checks that the engine feeds its core, and gives the cycles that it waits for it. Raises Refuted."""
    core = [one for one in instances if one.module == f"{claim.name}_core"]
    flow = [one for one in instances if one.module == "bnnc_pipeline"]
    if len(instances) != 2 or len(core) != 1 or len(flow) != 1:
        raise Refuted(claim.name, "the engine is not a core and a bnnc_pipeline")
    ports = {port: value.name for port, value in core[0].ports.items() if isinstance(value, Name)}
    result = flow[0].ports.get("result")
    if ports != {"clk": "clk", "in": "in_data", "out": "result"} or result != Name("result"):
        raise Refuted(claim.name, "the core is connected in another way")
    rest = {port: value for port, value in flow[0].ports.items() if port != "result"}
    if any(value != Name(port) for port, value in rest.items()):
        raise Refuted(claim.name, "bnnc_pipeline is connected in another way")
    numbers = {name: value.value for name, value in flow[0].parameters.items()}
    if set(numbers) != {"WIDTH", "LATENCY", "DEPTH"} or numbers["WIDTH"] != claim.result.bits:
        raise Refuted(claim.name, f"bnnc_pipeline has the parameters {numbers}")
    return numbers["LATENCY"]
