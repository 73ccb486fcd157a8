"""A training step on its way into C: the programs of a device, the encoder in front, and where everything lies."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from bnnc.backends.c.interface import Interface, Parameter, interface_of, signature_of
from bnnc.backends.c.printer import Printed, print_program, print_programs
from bnnc.diagnostics import BnncError, error
from bnnc.ir.module import Output
from bnnc.ir.training import INIT, stream
from bnnc.loops.ir import Fma, expressions_of, nodes_of, statements_of
from bnnc.loops.lower.network import lower
from bnnc.loops.lower.training.device import DeviceProgram, lower_device
from bnnc.loops.lower.training.single_values import HiddenPlanes, RowsOfBits
from bnnc.loops.lower.training.values import Numbers
from bnnc.loops.machine import Machine
from bnnc.passes import pipelines
from bnnc.train.encoding import Encoding
from bnnc.train.engine import Step
from bnnc.train.record import Record
from bnnc.train.rules import largest_hidden
from bnnc.train.state import initial_shift


@dataclass(frozen=True, eq=False)
class Encoder:
    """The part of the network in front of what is trained: an input becomes int8 `values`, [steps][width] of ±1.

    bias: a constant +1 follows every step.
    """

    interface: Interface
    parameter: Parameter
    printed: Printed
    arena_words: int
    steps: int
    width: int
    bias: bool

    @property
    def value_words(self) -> int:
        """Words of memory for the values."""
        return -(-self.steps * self.width // 4)


@dataclass(frozen=True, eq=False)
class Trainer:
    """A training step on its way into C; `state` is where it begins. Names begin with `prefix`.

    drawn: the key of the random numbers, and the shift, of every matrix whose first hidden weights are drawn there.
    """

    prefix: str
    machine: Machine
    step: Step
    state: Mapping[str, np.ndarray]
    program: DeviceProgram
    printed: Printed
    bodies: Mapping[str, list[str]]
    encoder: Encoder | None
    drawn: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def upper(self) -> str:
        """The prefix of macros."""
        return self.prefix.upper()

    @property
    def kept_words(self) -> int:
        """Words of the state that matter between calls."""
        return self.program.kept // 4

    @property
    def bits_word(self) -> int:
        """Where an encoded sample lies in the state: behind all that its encoding and its training use."""
        more = self.encoder.value_words + self.encoder.arena_words if self.encoder else 0
        return max(self.program.bytes // 4, self.kept_words + more)

    @property
    def words(self) -> int:
        """Words of the whole state."""
        return self.bits_word + (self.program.sample_words if self.encoder else 0)

    @property
    def matrices(self) -> list[tuple[str, HiddenPlanes, RowsOfBits]]:
        """Every trained matrix: its name, its hidden weights and its weights."""
        homes = self.program.homes
        found = []
        for name, home in homes.items():
            if isinstance(home.value, HiddenPlanes):
                weights = homes[f"weights_{name.removeprefix('hidden_')}"].value
                assert isinstance(weights, RowsOfBits)
                found.append((name.removeprefix("hidden_"), home.value, weights))
        return found

    @property
    def numbers(self) -> tuple[int, int]:
        """The first word of the counters, and how many words they are."""
        places = [h.value.buffer for h in self.program.homes.values() if isinstance(h.value, Numbers)]
        first = min(buffer.offset for buffer in places) // 4
        return first, self.program.label.offset // 4 - first

    @property
    def export_bytes(self) -> int:
        """What NAME_train_export writes: an identification, the weights, a checksum."""
        return 8 + 4 * sum(weights.rows * hidden.layout.words for _, hidden, weights in self.matrices)

    @property
    def identity(self) -> int:
        """A number that tells exports of other networks: of the sizes and the classifiers."""
        text = [f"{name}:{w.rows}x{w.width}" for name, _, w in self.matrices]
        total = zlib.crc32(" ".join(text).encode())
        for _, buffer in self.printed.table_names:
            assert buffer.data is not None
            total = zlib.crc32(np.ascontiguousarray(buffer.data.astype("<i4")).tobytes(), total)
        return total

    @property
    def rom_bytes(self) -> int:
        """Constant tables, the first state included."""
        tables = sum(buffer.bytes for _, buffer in self.printed.table_names)
        if self.encoder:
            tables += sum(buffer.bytes for _, buffer in self.encoder.printed.table_names)
        stored = sum(hidden.layout.length for name, hidden, _ in self.matrices if name not in self.drawn)
        return tables + 4 * (stored + self.numbers[1])

    @property
    def stack_bytes(self) -> int:
        """At most so much stack."""
        return max(self.printed.stack_bytes, self.encoder.printed.stack_bytes if self.encoder else 0) + 64

    def memory(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """uint32: the first words of the state in memory, for these tensors."""
        octets = np.zeros(self.program.bytes, np.uint8)
        for name, home in self.program.homes.items():
            home.store(octets, state[name])
        return octets.view(np.uint32)

    def checksum(self, state: Mapping[str, np.ndarray]) -> int:
        """What NAME_train_checksum gives for this state."""
        memory = self.memory(state)
        total = 0
        for _, hidden, _ in self.matrices:
            layout = hidden.layout
            at = hidden.buffer.offset // 4
            groups = memory[at : at + layout.length].reshape(layout.rows, layout.words, layout.planes).copy()
            groups[:, -1] &= np.uint32(last_mask(layout.width))
            total = zlib.crc32(np.ascontiguousarray(groups.astype("<u4")).tobytes(), total)
        first, count = self.numbers
        return zlib.crc32(memory[first : first + count].astype("<u4").tobytes(), total)


def last_mask(width: int) -> int:
    """The bits of the last word of a row that exist."""
    return (1 << width % 32) - 1 if width % 32 else 0xFFFFFFFF


def trainer_of_record(record: Record, prefix: str, machine: Machine, channels_last: bool, anew: bool) -> Trainer:
    """The trainer for what a `.bnnm` holds; `anew`: it begins where the desktop's training began.

    Raises BnncError B0538 for what cannot be trained on that machine.
    """
    if not anew:
        return trainer(record.step, record.state, record.encoding, prefix, machine, channels_last)
    made = trainer(record.step, record.step.state, record.encoding, prefix, machine, channels_last)
    shift = initial_shift(largest_hidden(record.plan))
    keys = {m.name: (stream(record.seed, INIT, m.index, 0), shift) for m in record.design.matrices}
    return replace(made, drawn=keys)


def trainer(
    step: Step,
    state: Mapping[str, np.ndarray],
    encoding: Encoding | None,
    prefix: str,
    machine: Machine,
    channels_last: bool = False,
) -> Trainer:
    """The trainer for a step; without an encoding it takes samples that are bits already.

    Raises BnncError B0538 where the machine is too small, or the encoders need what it lacks; B0615 for a step that
    cannot be expressed.
    """
    if machine.index_bits == 16:
        raise error(
            "B0538",
            f"`{machine.name}` is too small to train a network on",
            notes=("a hidden weight takes a byte or two of RAM, and each sample 64-bit random numbers",),
            helps=("--machine cortex-m0, or another 32-bit processor",),
        )
    modules = (step.accumulate(1), step.end_batch, step.end_epoch, step.evaluate(1))
    program = lower_device("train", step.width, step.classes, *modules, machine)
    casts = {program.accumulate.inputs[0]: "bits", program.run.inputs[0]: "bits"}
    casts[program.run.outputs[0]] = "(uint32_t *)out"
    printed, bodies = print_programs(program.programs, prefix, 32, machine.rom, lambda _: "", casts)
    names = ("accumulate", "end_batch", "end_epoch", "run")
    encoder = None if encoding is None else _encoder(encoding, prefix, machine, channels_last)
    by_name = dict(zip(names, bodies, strict=True))
    return Trainer(prefix, machine, step, dict(state), program, printed, by_name, encoder)


def _encoder(encoding: Encoding, prefix: str, machine: Machine, channels_last: bool) -> Encoder:
    module = encoding.module()
    if module.level == "bit":
        module = pipelines.optimise(module)
    (output,) = module.outputs
    interface = interface_of(replace(module, outputs=(Output(output.name, output.value, "bool"),)), channels_last)
    try:
        lowered = lower(interface.module, machine)
    except BnncError as fault:
        raise error(
            "B0538",
            "what stands in front of the trained layers cannot run on the device",
            notes=tuple(diagnostic.message for diagnostic in fault.diagnostics),
        ) from None
    program = lowered.program
    roots = (e for f in program.functions for s in statements_of(f.body) for e in expressions_of(s))
    if not machine.fma and any(isinstance(node, Fma) for root in roots for node in nodes_of(root)):
        raise error(
            "B0538",
            f"what stands in front of the trained layers works on floats, and `{machine.name}` has no FPU",
            helps=("--machine cortex-m4, or another one with an FPU",),
        )
    signature = signature_of(interface, program, prefix)
    casts = {program.inputs[0]: signature.inputs[0].cast, program.outputs[0]: "values"}
    printed = print_program(program, f"{prefix}_encode", 32, machine.rom, lambda _: "", casts)
    words = -(-program.arena_bytes // 4)
    part = encoding.parts[0].type.size
    return Encoder(interface, signature.inputs[0], printed, words, len(encoding.parts), part, encoding.bias)


__all__ = ["Encoder", "Trainer", "last_mask", "trainer", "trainer_of_record"]
