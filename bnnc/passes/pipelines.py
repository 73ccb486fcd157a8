"""The whole compiler on one page: the passes that give an imported model its meaning, and those that make it fast."""

from __future__ import annotations

from dataclasses import replace

from bnnc.diagnostics import error
from bnnc.ir.module import Module
from bnnc.passes.canonical import canonicalise
from bnnc.passes.constant_channels import drop_constant_channels
from bnnc.passes.constants import compress_constants, fold_constants
from bnnc.passes.duplicates import merge_duplicates
from bnnc.passes.fixed_streams import fix_streams
from bnnc.passes.flattening import flatten_first
from bnnc.passes.hints import add_hints
from bnnc.passes.islands import fold_islands
from bnnc.passes.layers import integer_layers
from bnnc.passes.manager import Observer, Pass, run_passes
from bnnc.passes.options import PassOptions
from bnnc.passes.padding import join_padding
from bnnc.passes.permutations import fold_permutations
from bnnc.passes.pools import pool_bits_last, pool_integers_first
from bnnc.passes.report import layers
from bnnc.passes.reshapes import sink_reshapes
from bnnc.passes.semantics import norms_of, tabulate_as_reals
from bnnc.passes.tabulation import tabulate_regions
from bnnc.passes.transposes import cancel_transposes

MEANING: tuple[Pass, ...] = (
    Pass("compress", "shrink constants and expansions that broadcasting makes up for", compress_constants),
    Pass("constants", "evaluate everything that depends on constants alone", fold_constants),
    Pass("canonical", "one spelling for each thing", canonicalise, exact=False),
    Pass("transposes", "cancel transposes: channels first everywhere", cancel_transposes, exact=False),
    Pass("reshapes", "reshapes sink behind elementwise ops", sink_reshapes, exact=False),
    Pass("constants-again", "evaluate what the last passes made constant", fold_constants),
    Pass("compress-again", "shrink what the last passes made constant", compress_constants),
    Pass("layers", "write binary and low-bit layers on integers, scales behind them", integer_layers, exact=False),
    Pass("tidy", "remove what the integer layers made redundant", canonicalise, exact=False),
    Pass("hints", "say of layers that are float by mistake what would make them binary", add_hints),
)

TIDYING: tuple[Pass, ...] = (
    Pass("permutations", "permutations of channels join the weights around them", fold_permutations),
    Pass("channels", "channels that never change, or that nobody reads, go away", drop_constant_channels),
    Pass("duplicates", "equal ops are computed once", merge_duplicates),
)

LOWERING: tuple[Pass, ...] = (
    Pass("pool-integers", "max pools move before monotone maps", pool_integers_first),
    Pass("tabulate", "evaluate every region on every integer: steps and integer ops", tabulate_regions),
    Pass("padding", "padding joins its convolution", join_padding),
    Pass("flatten", "one-channel images are flattened before their bits are made", flatten_first),
    Pass("pool-bits", "max pools move behind steps: OR and AND of bits", pool_bits_last),
    *TIDYING,
)

# What is left to do for a module that is at the «bit» level already, such as a net in the .bnn language.
ISLANDS = Pass("islands", "float arithmetic before a step joins its table", fold_islands)
WRITTEN: tuple[Pass, ...] = (ISLANDS, *TIDYING)

PASSES: tuple[Pass, ...] = (*MEANING, *LOWERING, ISLANDS)

EXACT = PassOptions()


def canonical(module: Module, observe: Observer | None = None) -> Module:
    """The «nn» module that is the meaning of an imported model: the reference point of every comparison."""
    return module if module.level == "bit" else run_passes(module, MEANING, observe)


def optimise(
    module: Module,
    observe: Observer | None = None,
    *,
    require_binary: bool = True,
    options: PassOptions = EXACT,
) -> Module:
    """The «bit» module; with other than exact options, which change the meaning, those stand in its facts.

    Raises BnncError B0402 if the model has layers and none of them is binary or low-bit; what the options raise.
    """
    if module.level == "bit":
        return run_passes(module, WRITTEN, observe)
    lowering = LOWERING if options.semantics == "onnx" else _lowering_as_reals(module)
    result = run_passes(canonical(module, observe), lowering, observe)
    if require_binary:
        _demand_binary(result)
    if options.exact:
        return result
    return run_passes(replace(result, facts=(*result.facts, *options.facts)), _chosen(options), observe)


def _lowering_as_reals(module: Module) -> tuple[Pass, ...]:
    """LOWERING, with the thresholds of real arithmetic."""
    norms = norms_of(module)

    def tabulate(before: Module) -> Module:
        return tabulate_as_reals(before, norms)

    return tuple(
        replace(each, run=tabulate, exact=False, chosen=True) if each.name == "tabulate" else each for each in LOWERING
    )


def _chosen(options: PassOptions) -> tuple[Pass, ...]:
    """The passes that options ask for."""
    streams = Pass(
        "streams",
        "real-valued streams become fixed point, float first layers integer sums",
        lambda module: fix_streams(module, options),
        exact=False,
        chosen=True,
    )
    return (streams,) if options.stream == "fixed" or options.stem == "int" else ()


CHOICES: tuple[Pass, ...] = _chosen(PassOptions("fixed", "int", "real"))


def _demand_binary(module: Module) -> None:
    found = layers(module)
    if not found or any(layer.packed or layer.low_bit for layer in found):
        return
    first = found[0]
    raise error(
        "B0402",
        f"nothing in `{module.name}` is binary: {first.why}",
        places=tuple(layer.loc for layer in found),
        notes=("a layer is binary when its weights are ±a per channel, or when a Sign is applied to them",),
        helps=("export with the quantiser in the graph (QONNX BipolarQuant, or torch.sign on the weights)",),
    )
