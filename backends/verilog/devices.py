"""Chips as data: how much they hold, and what nextpnr calls them. A new chip is a new row."""

from __future__ import annotations

from dataclasses import dataclass

from bnnc.diagnostics import Exit, error


@dataclass(frozen=True)
class Device:
    """A chip. `luts`: LUT4 (ecp5, ice40) or LUT6 (xc7); `memories`: block RAMs of `memory_bits` each.

    `nextpnr`: the options that name it; empty where no open router is known for it. Sizes are those of the data
    sheets (Lattice FPGA-DS-02012 and iCE40; Xilinx DS180, DS190); block RAMs of xc7 are halves of 18 Kbit.
    """

    name: str
    technology: str
    luts: int
    memories: int
    memory_bits: int
    nextpnr: tuple[str, ...] = ()


def _ecp5(size: str, luts: int, memories: int) -> Device:
    options = (f"--{size}k", "--package", "CABGA381", "--speed", "6")
    return Device(f"ecp5-{size}f", "ecp5", luts, memories, 18 * 1024, options)


DEVICES: tuple[Device, ...] = (
    _ecp5("12", 12_000, 32),
    _ecp5("25", 24_000, 56),
    _ecp5("45", 44_000, 108),
    _ecp5("85", 84_000, 208),
    Device("ice40-hx1k", "ice40", 1_280, 16, 4096, ("--hx1k", "--package", "tq144")),
    Device("ice40-hx8k", "ice40", 7_680, 32, 4096, ("--hx8k", "--package", "ct256")),
    Device("ice40-up5k", "ice40", 5_280, 30, 4096, ("--up5k", "--package", "sg48")),
    Device("xc7a35t", "xc7", 20_800, 100, 18 * 1024),
    Device("xc7a100t", "xc7", 63_400, 270, 18 * 1024),
    Device("xc7z020", "xc7", 53_200, 280, 18 * 1024),
)

FIRST_OF = {"ecp5": "ecp5-85f", "ice40": "ice40-hx8k", "xc7": "xc7a100t"}
"""The chip that stands for a technology when only that is given."""


def device_named(name: str) -> Device:
    """A chip by name. Raises BnncError B0631 naming all known ones."""
    for device in DEVICES:
        if device.name == name.lower():
            return device
    known = ", ".join(device.name for device in DEVICES)
    raise error("B0631", f"no device `{name}` is known", helps=(f"choose one of: {known}",), exit_code=Exit.USAGE)


__all__ = ["DEVICES", "FIRST_OF", "Device", "device_named"]
