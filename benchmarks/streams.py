"""How often fixed-point streams decide as float streams do: one row for each network with a real-valued stream.

    python benchmarks/streams.py FOLDER_OF_ONNX_FILES [--samples 64] [--only NAME]

Both modules run in the reference on the same made-up samples. A decision is an element of a `bit.step` on a stream
(signs, trits, codes); it is equal if the step of the same layer gives the same integer.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from bnnc import api
from bnnc.checking import classes
from bnnc.data.seeded import seeded
from bnnc.diagnostics import BnncError
from bnnc.ir import bit
from bnnc.ir.module import Module
from bnnc.ir.op import Op
from bnnc.ir.types import F32, is_integer
from bnnc.passes.fixed_streams import stream_facts
from bnnc.passes.options import PassOptions
from bnnc.reference.run import values


def pairs(plain: Module, fixed: Module) -> list[tuple[Op, Op]]:
    """The same decision in both modules."""
    found: list[tuple[Op, Op]] = []
    others = [op for op in fixed.ops() if isinstance(op, bit.Step)]
    for op in plain.ops():
        if isinstance(op, bit.Step):
            same = next(o for o in others if (o.loc, o.type) == (op.loc, op.type))
            others.remove(same)
            found.append((op, same))
    return found


def row(path: Path, samples: int) -> str | None:
    """The row of one network; None for one without a stream."""
    plain = api.optimise(api.load(path))
    started = time.perf_counter()
    fixed = api.optimise(api.load(path), options=PassOptions(stream="fixed"))
    seconds = time.perf_counter() - started
    facts = stream_facts(fixed)
    if not facts:
        return None
    decided = equal = right = 0
    for start in range(0, samples, 8):
        inputs = seeded(plain, 8, 1, start)
        one, two = values(plain, inputs), values(fixed, inputs)
        for a, b in pairs(plain, fixed):
            if a.operands[0].type.dtype == F32() and is_integer(a.type.dtype):
                decided += one[a].size
                equal += int((one[a] == two[b]).sum())
        first, second = plain.outputs[0], fixed.outputs[0]
        left = classes(plain, {first.name: np.moveaxis(one[first.value], 0, first.batch_axis)})
        other = classes(fixed, {first.name: np.moveaxis(two[second.value], 0, second.batch_axis)})
        right += int((left == other).sum()) if left is not None and other is not None else 0
    native = api.network(fixed, "llvm", {}, bits=fixed).run(seeded(plain, 8, 1))
    expected = api.network(fixed, "reference", {}).run(seeded(plain, 8, 1))
    same = all(np.array_equal(native[name], expected[name]) for name in native)
    fewest = min(fact.fraction for fact in facts)
    clipped = sum(fact.saturates for fact in facts)
    floats = sum(op.type.dtype == F32() and op.opcode not in ("input", "nn.constant") for op in fixed.ops())
    share = f"{100 * equal / decided:.4f} %" if decided else "-"
    return (
        f"{path.stem:36} {len(facts):4} {fewest:5} {clipped:5} {floats:6} {decided:9} {decided - equal:6} {share:>10} "
        f"{right:4}/{samples:<4} {'yes' if same else 'NO':>4} {seconds:6.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    out = sys.stdout
    out.write(f"{'network':36} fix'd  bits  clip floats decisions differ      equal  arg-max  llvm seconds\n")
    for path in sorted(given.folder.glob("*.onnx")):
        if given.only not in path.stem:
            continue
        try:
            line = row(path, given.samples)
        except BnncError as reason:
            line = f"{path.stem:36} {reason.diagnostics[0].message}"
        if line:
            out.write(line + "\n")
            out.flush()


if __name__ == "__main__":
    main()
