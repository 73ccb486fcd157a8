"""The machine at hand, described like every other one."""

from __future__ import annotations

import functools
from dataclasses import replace

import llvmlite.binding as llvm

from bnnc.loops.machine import Machine, machine_for


@functools.cache
def native_machine() -> Machine:
    """This computer's CPU with exactly the features it has."""
    features = llvm.get_host_cpu_features()
    has = {name for name, present in features.items() if present}
    triple = llvm.get_process_triple()
    if triple.startswith("x86_64"):
        if {"avx512f", "avx512bw", "avx512vl", "avx512dq"} <= has:
            base = machine_for("znver5" if "avx512vpopcntdq" in has else "x86-64-v4")
        elif {"avx2", "fma"} <= has:
            base = machine_for("x86-64-v3")
        else:
            base = machine_for("x86-64-v2" if "popcnt" in has else "x86-64")
    elif triple.startswith(("aarch64", "arm64")):
        base = machine_for("aarch64")
    else:
        base = machine_for("generic")
    return replace(
        base,
        name="native",
        summary="this computer",
        triple=triple,
        cpu=llvm.get_host_cpu_name(),
        features=features.flatten(),
    )


def machine_named(name: str) -> Machine:
    """`native` or a machine of the table. Raises BnncError for an unknown name."""
    return native_machine() if name == "native" else machine_for(name)
