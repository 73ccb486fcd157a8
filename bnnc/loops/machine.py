"""Machines as data: what kernels and printers must know of a CPU. A new machine is a new row."""

from __future__ import annotations

from dataclasses import dataclass

from bnnc.diagnostics import BnncError, Exit, error

CODE_UNKNOWN_MACHINE = "B0601"


@dataclass(frozen=True)
class Machine:
    """A CPU, as far as code for it differs.

    `vector_bits` 0 means no vectors. `vector_popcount`: a popcount of 32-bit lanes is one instruction (else kernels
    count in bytes, which every vector unit can do in a few). `scalar_popcount`: of one word. `flags_to_bits`: the flags
    of a comparison become bits of a word in an instruction or two. `triple`, `cpu` and `features` are LLVM's; the
    triple is empty for machines that only C reaches. `rows`: bits of layers are added row by row, 32 outputs a word,
    which small processors do faster than counting (loops/kernels/row_conv.py), or with vectors
    `row_lanes` words at once (loops/kernels/row_vectors.py). `registers`: of words, for all purposes. `finds_bits`: the
    lowest set bit of a word is found in an instruction or two. `index_bits`: of the numbers that index arrays. `rom`:
    constants lie in a memory that only special instructions read.
    """

    name: str
    summary: str
    triple: str
    cpu: str = ""
    features: str = ""
    word_bits: int = 64
    vector_bits: int = 128
    vector_registers: int = 16
    vector_popcount: bool = False
    scalar_popcount: bool = True
    flags_to_bits: bool = False
    fma: bool = True
    l1_bytes: int = 32 << 10
    l2_bytes: int = 256 << 10
    rows: bool = False
    row_lanes: int = 1
    registers: int = 16
    finds_bits: bool = False
    index_bits: int = 64
    rom: bool = False

    @property
    def alignment(self) -> int:
        """To how many bytes buffers are placed: a cache line where there are vectors, else a word."""
        return 64 if self.vector_bits or self.index_bits == 64 else 4

    @property
    def streams(self) -> bool:
        """Whether memory is so scarce that images are worked on row by row."""
        return self.index_bits < 64

    @property
    def lanes(self) -> int:
        """How many 32-bit lanes a vector has; 1 without vectors."""
        return max(1, self.vector_bits // 32)


_X86 = "x86_64-unknown-linux-gnu"
_AVX512 = {"vector_bits": 512, "vector_registers": 32}


def _x86(name: str, summary: str, cpu: str, **more: object) -> Machine:
    return Machine(name, summary, _X86, cpu, flags_to_bits=True, **more)  # type: ignore[arg-type]


MACHINES: tuple[Machine, ...] = (
    _x86("x86-64", "any 64-bit x86 (SSE2)", "x86-64", scalar_popcount=False, fma=False),
    _x86("x86-64-v2", "x86 with SSE4.2 and popcnt (2008)", "x86-64-v2", fma=False),
    _x86("x86-64-v3", "x86 with AVX2 and FMA (2013)", "x86-64-v3", vector_bits=256),
    _x86("x86-64-v4", "x86 with AVX-512 F/BW/DQ/VL (2017)", "x86-64-v4", **_AVX512, l2_bytes=1 << 20),
    _x86(
        "icelake",
        "Intel Ice Lake server",
        "icelake-server",
        **_AVX512,
        vector_popcount=True,
        l1_bytes=48 << 10,
        l2_bytes=1280 << 10,
    ),
    _x86("znver4", "AMD Zen 4", "znver4", **_AVX512, vector_popcount=True, l2_bytes=1 << 20),
    _x86("znver5", "AMD Zen 5", "znver5", **_AVX512, vector_popcount=True, l1_bytes=48 << 10, l2_bytes=1 << 20),
    Machine(
        "aarch64",
        "any 64-bit ARM (NEON)",
        "aarch64-unknown-linux-gnu",
        "generic",
        vector_registers=32,
        l2_bytes=512 << 10,
    ),
    Machine(
        "wasm32",
        "WebAssembly with SIMD",
        "wasm32-unknown-unknown",
        "",
        "+simd128",
        32,
        scalar_popcount=True,
        fma=False,
    ),
    Machine(
        "rv64",
        "64-bit RISC-V (RV64GC)",
        "riscv64-unknown-linux-gnu",
        "generic-rv64",
        "+m,+a,+f,+d,+c",
        64,
        0,
        scalar_popcount=False,
    ),
    Machine("generic", "any 64-bit machine, no vectors", "", "", "", 64, 0, scalar_popcount=False, fma=False),
)
"""The machines known by name; `native`, the machine at hand, is found by the backend that can ask it."""


def _small(name: str, summary: str, **more: object) -> Machine:
    known: dict[str, object] = {"word_bits": 32, "vector_bits": 0, "scalar_popcount": False, "index_bits": 32}
    return Machine(name, summary, "", **{**known, **more})  # type: ignore[arg-type]


CONTROLLERS: tuple[Machine, ...] = (
    _small("generic-c", "any computer with a C compiler", scalar_popcount=True),
    _small("cortex-m0", "ARM Cortex-M0 and M0+ (no FPU)", rows=True, fma=False),
    _small("cortex-m3", "ARM Cortex-M3 (no FPU)", rows=True, finds_bits=True, fma=False),
    _small("cortex-m4", "ARM Cortex-M4 with FPU", rows=True, finds_bits=True),
    _small("cortex-m7", "ARM Cortex-M7 with FPU", rows=True, finds_bits=True),
    _small("cortex-m33", "ARM Cortex-M33 with FPU", rows=True, finds_bits=True),
    _small("cortex-m55", "ARM Cortex-M55 with FPU and vectors (MVE)", rows=True, finds_bits=True, row_lanes=4),
    _small("rv32imac", "32-bit RISC-V without Zbb (no FPU)", rows=True, registers=32, fma=False),
    _small(
        "rv32imac_zbb",
        "32-bit RISC-V with Zbb (no FPU)",
        rows=True,
        registers=32,
        finds_bits=True,
        scalar_popcount=True,
        fma=False,
    ),
    _small("xtensa", "Xtensa LX6 and LX106: ESP32, ESP8266 (no FPU)", rows=True, fma=False),
    _small("avr", "8-bit AVR: ATmega", word_bits=8, fma=False, index_bits=16, rom=True),
)
"""Machines that are reached through C."""


def machine_for(name: str) -> Machine:
    """The machine of that name. Raises BnncError naming all known ones."""
    for machine in MACHINES:
        if machine.name == name:
            return machine
    raise unknown_machine(name)


def unknown_machine(name: str) -> BnncError:
    """The error for a name that stands for no machine."""
    known = ", ".join(["native", *(machine.name for machine in MACHINES)])
    return error(
        CODE_UNKNOWN_MACHINE, f"there is no machine `{name}`", helps=(f"choose one of: {known}",), exit_code=Exit.USAGE
    )
