"""Boards and compilers as data: a new board is a new row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SHIFT = 6
"""QEMU's clock advances by 2^SHIFT ns in an instruction, where a timer of the board counts: none ticks faster."""


@dataclass(frozen=True)
class Toolchain:
    """A compiler. `program` is looked for on the path; without one it is the Python package `ziglang`."""

    name: str
    program: str
    apt: str
    pip: str = ""


ARM_GCC = Toolchain("gcc for Arm", "arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi", "bnnc[emulation]")
RISCV_GCC = Toolchain("gcc for RISC-V", "riscv64-unknown-elf-gcc", "gcc-riscv64-unknown-elf")
XTENSA_GCC = Toolchain("gcc for Xtensa", "xtensa-lx106-elf-gcc", "gcc-xtensa-lx106")
AVR_GCC = Toolchain("gcc for AVR", "avr-gcc", "gcc-avr avr-libc")
ZIG = Toolchain("zig cc", "", "", "bnnc[emulation]")


@dataclass(frozen=True)
class Board:
    """An emulated board.

    `emulator` is a program, or `unicorn` (a Python package). `board` is what the emulator calls it; `cpu` the processor
    where the board leaves that open. `flash` and `ram` are (address, bytes). `source` is the start-up code, `defines`
    choose its clock; a tick of it takes `tick` ns, an instruction `each`: `shift` of QEMU's -icount. `flags` are
    for gcc, `target` and `zig_cpu` for zig. `counts` says what is counted (nothing: no
    clock); boards that are `named_only` are never chosen for somebody.
    """

    name: str
    machine: str
    emulator: str
    apt: str
    toolchains: tuple[Toolchain, ...]
    source: str
    flags: tuple[str, ...] = ()
    board: str = ""
    cpu: str = ""
    flash: tuple[int, int] = (0, 4 << 20)
    ram: tuple[int, int] = (0x2000_0000, 4 << 20)
    defines: tuple[str, ...] = ()
    tick: float = 1.0
    each: float = 1.0
    shift: int = 0
    target: str = ""
    zig_cpu: str = ""
    counts: str = "instructions"
    big_endian: bool = False
    named_only: bool = False

    @property
    def core(self) -> str:
        """The processor for people, such as `Cortex-M4`."""
        return CORES.get(self.machine, self.machine)


CORES = {
    "cortex-m0": "Cortex-M0",
    "cortex-m3": "Cortex-M3",
    "cortex-m4": "Cortex-M4",
    "cortex-m7": "Cortex-M7",
    "cortex-m33": "Cortex-M33",
    "cortex-m55": "Cortex-M55",
    "rv32imac": "RV32IMAC",
    "rv32imac_zbb": "RV32IMAC with Zbb",
    "xtensa": "Xtensa LX106",
    "avr": "AVR",
}

_HARD = ("-mfloat-abi=hard",)
# What zig calls an FPU: by the name of the processor alone it takes none.
_ZIG_FPU = {"-mfpu=fpv4-sp-d16": "+vfp4d16sp", "-mfpu=fpv5-sp-d16": "+fp_armv8d16sp", "-mfpu=auto": "+fp_armv8d16"}
_SOFT_EABI, _HARD_EABI = "thumb-freestanding-eabi", "thumb-freestanding-eabihf"
_CMSDK = ("-DBOARD_CLOCK_CMSDK=UINT32_C(0x40000000)",)


def _arm(name: str, machine: str, core: str, *more: str, **fields: object) -> Board:
    hard = "-mfloat-abi=hard" in more
    known: dict[str, object] = {
        "emulator": "qemu-system-arm",
        "apt": "qemu-system-arm",
        "toolchains": (ARM_GCC, ZIG),
        "source": "cortex_m.c",
        "flags": (f"-mcpu={core}", "-mthumb", *more),
        "board": name,
        "target": _HARD_EABI if hard else _SOFT_EABI,
        "zig_cpu": core.replace("-", "_") + next((_ZIG_FPU[flag] for flag in more if flag in _ZIG_FPU), ""),
        "defines": _CMSDK,
        "tick": 40.0,
        "each": float(1 << SHIFT),
        "shift": SHIFT,
    }
    return Board(name, machine, **{**known, **fields})  # type: ignore[arg-type]


_FPU4 = (*_HARD, "-mfpu=fpv4-sp-d16")
_FPU5 = (*_HARD, "-mfpu=fpv5-sp-d16")
_M0_ONLY: dict[str, object] = {"flash": (0, 256 << 10), "ram": (0x2000_0000, 16 << 10), "tick": 62.5}
_UNICORN: dict[str, object] = {"emulator": "unicorn", "apt": "", "defines": (), "tick": 1.0, "each": 1.0}


def _riscv(name: str, machine: str, march: str, cpu: str) -> Board:
    return Board(
        name,
        machine,
        "qemu-system-riscv32",
        "qemu-system-misc",
        (RISCV_GCC,),
        "riscv.c",
        (f"-march={march}", "-mabi=ilp32", "-mcmodel=medany", "-mno-relax"),
        "virt",
        cpu,
        (0x8000_0000, 16 << 20),
        (0x8100_0000, 64 << 20),
    )


def _avr(name: str, flash: int, ram: int) -> Board:
    return Board(
        name,
        "avr",
        "simavr",
        "simavr",
        (AVR_GCC,),
        "avr.c",
        (f"-mmcu={name}", "-DF_CPU=16000000UL"),
        name,
        flash=(0, flash << 10),
        ram=(0x100, ram << 10),
        counts="cycles",
    )


def _other_computer(name: str, emulator: str, target: str) -> Board:
    """A computer of another kind, under an emulator that knows Linux: its numbers lie in memory the other way round."""
    return Board(
        name,
        "generic-c",
        emulator,
        "qemu-user",
        (ZIG,),
        "linux.c",
        target=target,
        counts="",
        big_endian=True,
        named_only=True,
    )


BOARDS: tuple[Board, ...] = (
    _arm("microbit", "cortex-m0", "cortex-m0", **{**_M0_ONLY, "defines": ("-DBOARD_CLOCK_NRF51",)}),
    _arm("mps2-an385-m0", "cortex-m0", "cortex-m0", board="mps2-an385"),
    _arm("mps2-an385", "cortex-m3", "cortex-m3"),
    _arm("mps2-an386", "cortex-m4", "cortex-m4", *_FPU4),
    _arm("mps2-an500", "cortex-m7", "cortex-m7", *_FPU5),
    _arm(
        "mps2-an505",
        "cortex-m33",
        "cortex-m33",
        *_FPU5,
        flash=(0x1000_0000, 4 << 20),
        ram=(0x3800_0000, 2 << 20),
        defines=("-DBOARD_CLOCK_CMSDK=UINT32_C(0x50000000)",),
        tick=50.0,
    ),
    _arm(
        "mps3-an547",
        "cortex-m55",
        "cortex-m55",
        *_HARD,
        "-mfpu=auto",
        flash=(0, 512 << 10),
        ram=(0x2000_0000, 512 << 10),
        defines=("-DBOARD_CLOCK_SSE",),
        tick=31.25,
    ),
    _arm("unicorn-m0", "cortex-m0", "cortex-m0", board="M0", **_UNICORN),
    _arm("unicorn-m3", "cortex-m3", "cortex-m3", board="M3", **_UNICORN),
    _arm("unicorn-m4", "cortex-m4", "cortex-m4", *_FPU4, board="M4", **_UNICORN),
    _arm("unicorn-m7", "cortex-m7", "cortex-m7", *_FPU5, board="M7", **_UNICORN),
    _arm("unicorn-m33", "cortex-m33", "cortex-m33", *_FPU5, board="M33", **_UNICORN),
    _avr("atmega328p", 32, 2),
    _avr("atmega1284p", 128, 16),
    Board(
        "sim-lx106",
        "xtensa",
        "qemu-system-xtensa",
        "qemu-system-misc",
        (XTENSA_GCC,),
        "xtensa.c",
        ("-mlongcalls", "-mtext-section-literals"),
        "sim",
        "lx106",
        (0x5000_0000, 16 << 20),
        (0x6000_0000, 16 << 20),
        tick=25.0,
        each=float(1 << SHIFT),
        shift=SHIFT,
    ),
    _riscv("virt-rv32", "rv32imac", "rv32imac_zicsr", "rv32"),
    _other_computer("mips", "qemu-mips", "mips-freestanding-none"),
    _other_computer("powerpc", "qemu-ppc", "powerpc-freestanding-none"),
    _riscv("virt-rv32-zbb", "rv32imac_zbb", "rv32imac_zicsr_zba_zbb", "rv32,zba=true,zbb=true"),
)
"""All boards; those of a machine in the order in which they are tried."""


def boards_of(machine: str) -> Sequence[Board]:
    """The boards of a machine, best first."""
    return [board for board in BOARDS if board.machine == machine]


__all__ = ["BOARDS", "CORES", "Board", "Toolchain", "boards_of"]
