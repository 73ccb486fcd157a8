"""Real exports of every kind: packed exactly as listed, right against recorded outputs, the same bits in every form."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bnnc import api
from bnnc.diagnostics import BnncError
from bnnc.ir.module import Module
from bnnc.passes import pipelines
from bnnc.passes.report import layers
from bnnc.reference.run import run
from tests.shared import ROOT, SHARED, needs_shared

GOLDEN = ROOT / "tests" / "golden" / "packed.json"
NETS = SHARED / "models" / "nets"
ZOO = SHARED / "models" / "zoo"
NAMES = sorted(str(p.relative_to(NETS))[:-5] for p in NETS.rglob("*.onnx")) if NETS.is_dir() else []
NEGATIVE = "float_cnn_negative_legacy13"
LOST = "binarynet_data_idiom_sign_dropped_legacy13"
ZOO_NAMES = sorted(p.stem for p in ZOO.glob("*/*.onnx")) if ZOO.is_dir() else []


def recorded(name: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, Any]]:
    """Inputs, recorded outputs and facts of a network."""
    arrays = np.load(NETS / f"{name}.npz")
    inputs = {k[3:]: arrays[k] for k in arrays.files if k.startswith("in_")}
    outputs = {k[4:]: arrays[k] for k in arrays.files if k.startswith("out_")}
    facts = json.loads((NETS / f"{name}.json").read_text())
    return inputs, outputs, facts


@functools.cache
def stages(path: Path) -> tuple[Module, Module, Module]:
    """The module as read, its canonical form, and its «bit» form."""
    module = api.load(path)
    return module, pipelines.canonical(module), pipelines.optimise(module, require_binary=False)


def summary(path: Path) -> dict[str, str]:
    """What became of every layer: packed with which weights on which inputs, or float and why."""
    found = layers(stages(path)[2])
    return {f.name: f"packed {f.weights} on {f.input}" if f.packed else f"float: {f.why}" for f in found}


@needs_shared
@pytest.mark.parametrize("name", NAMES)
def test_every_form_agrees_with_the_recorded_outputs(name: str) -> None:
    inputs, outputs, _ = recorded(name)
    _, canonical, bits = stages(NETS / f"{name}.onnx")
    meaning, exact = run(canonical, inputs), run(bits, inputs)
    for key, expected in outputs.items():
        assert np.array_equal(meaning[key], exact[key]), f"{key}: a pass changed bits"
        if "dyadic" in name:
            assert np.array_equal(exact[key], expected)
        np.testing.assert_allclose(exact[key], expected, rtol=1e-4, atol=1e-4)


@needs_shared
@pytest.mark.parametrize("name", NAMES)
def test_native_code_gives_the_same_bits_for_any_batch(name: str) -> None:
    inputs, _, _ = recorded(name)
    bits = stages(NETS / f"{name}.onnx")[2]
    network = api.network(bits, "llvm", {}, threads=2, bits=bits)
    for batch in (
        inputs,
        {k: v[:1] for k, v in inputs.items()},
        {k: np.tile(v, (3,) + (1,) * (v.ndim - 1)) for k, v in inputs.items()},
    ):
        expected, found = run(bits, batch), network.run(batch)
        for key, array in expected.items():
            assert found[key].dtype == array.dtype
            assert np.array_equal(found[key], array), key


@needs_shared
def test_the_packed_layers_are_those_listed(request: pytest.FixtureRequest) -> None:
    found = {name: summary(NETS / f"{name}.onnx") for name in NAMES}
    found |= {f"zoo/{name}": summary(next(ZOO.glob(f"*/{name}.onnx"))) for name in ZOO_NAMES}
    if request.config.getoption("--update-golden"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    assert found == json.loads(GOLDEN.read_text(encoding="utf-8"))


@needs_shared
def test_a_network_without_anything_binary_is_refused() -> None:
    with pytest.raises(BnncError) as caught:
        api.optimise(api.load(NETS / f"{NEGATIVE}.onnx"))
    assert caught.value.diagnostics[0].code == "B0402"


@needs_shared
def test_a_lost_sign_is_warned_of_by_layer() -> None:
    warnings = [note for note in api.optimise(api.load(NETS / f"{LOST}.onnx")).notes if note.kind == "warning"]
    assert [(note.code, note.loc.name) for note in warnings] == [("B0411", "/3/MatMul")]


@needs_shared
@pytest.mark.parametrize("name", ZOO_NAMES)
def test_trained_networks_give_their_recorded_scores_bit_for_bit(name: str) -> None:
    path = next(ZOO.glob(f"*/{name}.onnx"))
    sample = np.load(path.with_name("sample.npz"))
    expected = sample["scores"] if "scores" in sample else sample["output"]
    bits = stages(path)[2]
    images = sample["image"].reshape(-1, *bits.inputs[0].shape)
    for target in ("reference", "llvm"):
        found = api.network(bits, target, {}, bits=bits).run({bits.inputs[0].name: images})
        (scores,) = found.values()
        np.testing.assert_allclose(scores.reshape(expected.shape), expected, rtol=1e-6, atol=1e-6)
