"""Training in C: the state is the desktop's, whatever the net, the encoder and the pieces; what cannot be is said."""

from __future__ import annotations

import ctypes
import re
import shlex
import shutil
import subprocess
import zlib
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bnnc import api
from bnnc.backends.c import training as training_c
from bnnc.backends.c.host import STRICT, shared_object
from bnnc.backends.c.training_engine import DeviceEngine
from bnnc.data.dataset import Dataset
from bnnc.data.registry import both
from bnnc.data.split import Pair
from bnnc.diagnostics import BnncError
from bnnc.ir import store
from bnnc.loops.machine import CONTROLLERS
from bnnc.train import record, rules
from bnnc.train.interpreted import ReferenceEngine
from bnnc.train.plan import (
    Comparisons,
    Encoder,
    Features,
    Recurrence,
    Settings,
    Signs,
    Thermometer,
    Threshold,
    TrainingPlan,
)
from tests import c_code, training
from tests.c_code import needs_gcc
from tests.cli import ROOT, bnnc

GENERIC = next(machine for machine in CONTROLLERS if machine.name == "generic-c")


def image_plan(shape: tuple[int, int, int], encoders: tuple[Encoder, ...], *widths: int, **more: Any) -> TrainingPlan:
    return TrainingPlan("net", "image", shape, 3, encoders, widths, Settings(**{"batch": 8, **more}))


def trained(plan: TrainingPlan, data: Pair, epochs: int = 1, seed: int = 3) -> bytes:
    return api.train(plan, data, epochs=epochs, seed=seed, on="reference").result()


def emitted(tmp_path: Path, network: bytes, **options: Any) -> Mapping[str, bytes]:
    path = tmp_path / "net.bnnm"
    path.write_bytes(network)
    return api.emit(path, "c", train=True, name="net", **options).files


def only_training(files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if "_train" in name}


def sequences(count: int, steps: int, width: int) -> Pair:
    def made(split: str, seed: int) -> Dataset:
        generator = np.random.default_rng(seed)
        values = generator.integers(0, 256, (count, steps, width)).astype(np.uint8)
        labels = (values[:, -1, :3].astype(np.int32).argmax(1)).astype(np.int32)

        def stream(length: int) -> Any:
            for start in range(0, count, length):
                yield values[start : start + length], labels[start : start + length]

        return Dataset("steps", split, count, (steps, width), ("a", "b", "c"), stream, training.images(1).train.dtype)

    return Pair(made("train", 0), made("test", 1))


# ------------------------------------------------------------ bnnc train --on c
NETS: dict[str, dict[str, Any]] = {
    "lbe": {"widths": (65, 33), "inputs": 70},
    "lbe schedule": {"schedule": 1, "groups": (3, 9), "widths": (36, 18), "tie": "lowest"},
    "bep": {"rule": "bep", "widths": (40, 35, 15), "gate": Fraction(1, 5), "schedule": 1},
    "cpr": {"rule": "cpr", "widths": (60,), "groups": (5,)},
    "narrow": {"hidden": 9, "batch": 50, "reinforcement": Fraction(1)},
    "one by one": {"batch": 1, "hidden": 12},
    "large": {"inputs": 1100, "widths": (130,), "batch": 100},
}


@needs_gcc
@pytest.mark.parametrize("net", list(NETS))
def test_the_engine_makes_the_state_of_the_reference(net: str) -> None:
    plan = training.plan(**NETS[net])
    step, _ = rules.build(plan, plan.input_shape[0], 11)
    samples = training.random_samples(230 if step.batch > 1 else 40, step.width, step.classes, seed=1)
    engine, reference = DeviceEngine(step, GENERIC), ReferenceEngine(step)
    for epoch in range(3):
        order = np.random.default_rng(epoch).permutation(len(samples))
        engine.epoch(samples, order)
        reference.epoch(samples, order)
        expected = reference.state()
        for name, array in engine.state().items():
            assert array.dtype == expected[name].dtype
            np.testing.assert_array_equal(array, expected[name], err_msg=f"{name}, epoch {epoch}")
        assert engine.evaluate(samples) == reference.evaluate(samples)
        if epoch == 1 and net == "bep":  # what is stored and loaded goes on as if nothing had been
            kept = engine.state()
            engine = DeviceEngine(step, GENERIC)
            engine.load_state(kept)


@needs_gcc
def test_a_run_in_c_writes_the_bytes_of_a_run_in_llvm() -> None:
    plan = training.plan(inputs=63, widths=(33, 15), rule="bep", batch=30)
    data = training.prototypes()
    other = api.train(plan, data, epochs=3, seed=2)
    first = api.training(plan, data, seed=2, on="c")
    list(first.epochs(1))
    second = api.training(plan, data, seed=2, on="c")
    second.resume(first.checkpoint(), "first")
    list(second.epochs(3))
    assert second.result() == other.result()
    assert second.checkpoint() == other.checkpoint()


@needs_gcc
def test_even_hidden_weights_are_refused() -> None:
    step, _ = rules.build(training.plan(), 21, 0)
    engine = DeviceEngine(step, GENERIC)
    state = {name: array.copy() for name, array in step.state.items()}
    state["hidden_1"][0, 0] = 2
    with pytest.raises(BnncError) as caught:
        engine.load_state(state)
    assert caught.value.diagnostics[0].code == "B0539"


def test_without_a_compiler_training_in_c_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("bnnc.backends.c.host.shutil.which", lambda _: None)
    monkeypatch.setattr("bnnc.backends.c.host.importlib.util.find_spec", lambda _: None)
    with pytest.raises(BnncError) as caught:
        api.training(training.plan(inputs=63), training.prototypes(), on="c")
    assert caught.value.diagnostics[0].code == "B0608"


# ------------------------------------------------------------ the artifact
def networks() -> dict[str, Any]:
    one, colours = training.images(60), training.images(60, (3, 5, 7))
    bep = {"rule": "bep", "gate": Fraction(1, 4)}
    cell = Settings(rule="bep", batch=4, gate=Fraction(1, 3))
    return {
        "bits": (training.plan(inputs=63, widths=(33, 15)), training.prototypes(200, 50)),
        "threshold": (image_plan((1, 6, 6), (Threshold(60),), 21, 9, **bep), one),
        "levels": (image_plan((3, 5, 7), (Thermometer(3, "quantile"), Comparisons(21)), 20, hidden=8), colours),
        "patches": (image_plan((3, 5, 7), (Features(40, 3),), 24, rule="cpr", groups=(3,)), colours),
        "cell": (
            TrainingPlan("net", "x", (4, 6), 3, (Threshold(90),), (9,), cell, Recurrence(11, 4)),
            sequences(60, 4, 6),
        ),
        "signs": (image_plan((1, 6, 6), (Signs(),), 12, tie="lowest"), one),
    }


@needs_gcc
@pytest.mark.parametrize(
    ("net", "machine"),
    [
        *((net, "cortex-m4") for net in ("bits", "threshold", "levels", "patches", "cell", "signs")),
        ("levels", "rv32imac_zbb"),
    ],
)
def test_the_self_test_passes_and_nothing_is_warned_of(net: str, machine: str, tmp_path: Path) -> None:
    plan, data = networks()[net]
    layout = "hwc" if net == "levels" else "chw"
    files = emitted(tmp_path, trained(plan, data), machine=machine, input_layout=layout)
    flags = ("-O0", *(c_code.SANITIZERS if net in ("levels", "cell") else ()))
    program = c_code.build(only_training(files), tmp_path, *flags)
    count = 24 if net == "cell" else 48
    assert c_code.run(program) == (0, f"net_train: ok, {count} golden samples\n")


@needs_gcc
@pytest.mark.parametrize("hidden", [8, 16])
def test_a_device_can_begin_anew(hidden: int, tmp_path: Path) -> None:
    """It draws the first weights of the desktop itself, and needs no tables for them."""
    plan = image_plan((1, 6, 6), (Threshold(60),), 33, 9, hidden=hidden)
    network = trained(plan, training.images(60))
    files = emitted(tmp_path, network, begin="seed")
    assert c_code.run(c_code.build(only_training(files), tmp_path, "-O0"))[0] == 0
    device = Device(files, tmp_path)
    device.call("init")
    found = record.loads(network, "net.bnnm")
    of = training_c.trainer_of_record(found, "net_train", GENERIC, False, False)
    assert device.call("checksum") & 0xFFFFFFFF == of.checksum(found.step.state) != of.checksum(found.state)
    sizes = {name: len(emitted(tmp_path, network, begin=name)["net_train.c"]) for name in ("trained", "seed")}
    assert sizes["seed"] < sizes["trained"]


@needs_gcc
def test_the_self_test_fails_for_a_wrong_bit(tmp_path: Path) -> None:
    plan, data = networks()["threshold"]
    files = dict(emitted(tmp_path, trained(plan, data)))
    source = files["net_train.c"].decode()
    for place, said in (
        ("net_train_hidden_1[", "the tables are damaged"),
        ("net_train_constant_rows_", "the trained weights are not the desktop's"),
    ):
        at = source.index("0x", source.index("= {", source.index(f" {place}")))
        files["net_train.c"] = f"{source[:at]}2u ^ {source[at:]}".encode()
        program = c_code.build(only_training(files), tmp_path, "-O0")
        code, text = c_code.run(program)
        assert code == 1
        assert said in text


@needs_gcc
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_a_c_plus_plus_sketch_can_call_it(tmp_path: Path) -> None:
    plan, data = networks()["threshold"]
    files = emitted(tmp_path, trained(plan, data))
    for name in ("net_train.h", "net_train.c"):
        (tmp_path / name).write_bytes(files[name])
    (tmp_path / "main.cpp").write_text(
        '#include "net_train.h"\nstatic uint32_t one[NET_TRAIN_WORDS], two[NET_TRAIN_WORDS];\n'
        "int main() { net_train_init(one); net_train_init(two); net_train_end_epoch(two);\n"
        "  return net_train_checksum(one) == net_train_checksum(two); }\n"
    )
    compiled = ["gcc", "-std=c99", "-c", "-o", str(tmp_path / "t.o"), str(tmp_path / "net_train.c")]
    linked = ["g++", "-o", str(tmp_path / "main"), str(tmp_path / "main.cpp"), str(tmp_path / "t.o")]
    for command in (compiled, linked, [str(tmp_path / "main")]):
        subprocess.run(command, check=True)


class Device:
    """The artifact, compiled for this computer."""

    def __init__(self, files: Mapping[str, bytes], folder: Path) -> None:
        sources = {name: files[name] for name in ("net_train.h", "net_train.c")}
        self.library = ctypes.CDLL(str(shared_object(sources, folder)))
        header = files["net_train.h"].decode()
        self.sizes = {w[1].removeprefix("NET_TRAIN_"): w[2] for w in map(str.split, header.splitlines()) if len(w) == 3}
        self.state = np.zeros(self.size("WORDS"), np.uint32)
        self.library.net_train_export.restype = ctypes.c_uint32
        self.library.net_train_checksum.restype = ctypes.c_uint32

    def size(self, name: str) -> int:
        return int(self.sizes[name].removesuffix("u"))

    def call(self, name: str, *arrays: Any) -> int:
        places = [ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else ctypes.c_uint32(a) for a in arrays]
        return int(getattr(self.library, f"net_train_{name}")(ctypes.c_void_p(self.state.ctypes.data), *places))


@needs_gcc
def test_a_device_goes_on_where_the_desktop_ended(tmp_path: Path) -> None:
    """The same samples in the same order: an epoch there is the desktop's, as are its answers and its export."""
    plan, data = networks()["levels"]
    run = api.train(plan, data, epochs=1, seed=3, on="reference")
    device = Device(emitted(tmp_path, run.result()), tmp_path)
    device.call("init")
    found = record.loads(run.result(), "net.bnnm")
    images, labels = data.train.load()
    encoded = found.encoding.encode(lambda x: api.run(found.encoding.module(), x, on="reference"), images, labels)
    reference = ReferenceEngine(found.step)
    reference.load_state(found.state)
    for epoch in range(2):
        order = np.random.default_rng(epoch).permutation(len(labels))
        reference.epoch(encoded, order)
        for number, sample in enumerate(order, 1):
            assert device.call("accumulate", images[sample], int(labels[sample])) in (0, 1)
            if number % device.size("BATCH") == 0 or number == len(order):
                device.call("end_batch")
        device.call("end_epoch")
        # Power goes: only what is to be kept comes back.
        kept = device.state[: device.size("KEPT_WORDS")].copy()
        device.state[:] = 0xDEADBEEF
        device.state[: len(kept)] = kept
    state = reference.state()
    exported = np.zeros(device.size("EXPORT_BYTES"), np.uint8)
    assert device.call("export", exported) == len(exported)
    assert int.from_bytes(exported[-4:].tobytes(), "little") == zlib.crc32(exported[:-4].tobytes())
    rows = (state["weights_1"] > 0).astype(np.uint8)
    padded = np.zeros((len(rows), -(-rows.shape[1] // 32) * 32), np.uint8)
    padded[:, : rows.shape[1]] = rows
    assert exported[4:-4].tobytes() == np.packbits(padded, axis=1, bitorder="little").tobytes()
    out = np.zeros(3, np.int32)
    right = 0
    for image, label in zip(images, labels, strict=True):
        device.call("run", image, out)
        right += int(np.argmax(out) == label)
    assert right == reference.evaluate(encoded)
    # What is exported runs elsewhere, and damage is seen.
    before = out.copy()
    device.call("init")
    assert device.call("import", exported) == 0
    device.call("run", images[-1], out)
    np.testing.assert_array_equal(out, before)
    exported[9] ^= 4
    assert device.call("import", exported) == -1


@needs_gcc
def test_two_trainings_do_not_meet(tmp_path: Path) -> None:
    plan, data = networks()["threshold"]
    device = Device(emitted(tmp_path, trained(plan, data)), tmp_path)
    states = [np.zeros(device.size("WORDS"), np.uint32) for _ in range(2)]
    bits = np.random.default_rng(0).integers(0, 2**32, (2, 8, device.size("SAMPLE_WORDS")), np.uint32)
    alone = []
    for which in (0, 1):  # one after the other
        device.state = states[which]
        device.call("init")
        for number in range(8):
            device.call("accumulate_bits", bits[which, number], number % 3)
        device.call("end_batch")
        alone.append(device.call("checksum"))
    assert alone[0] != alone[1]
    for which in (0, 1):
        device.state = states[which]
        device.call("init")
    for number in range(8):  # in turns
        for which in (0, 1):
            device.state = states[which]
            device.call("accumulate_bits", bits[which, number], number % 3)
    for which in (0, 1):
        device.state = states[which]
        device.call("end_batch")
        assert device.call("checksum") == alone[which]


@needs_gcc
def test_a_full_batch_and_a_wrong_label_change_nothing(tmp_path: Path) -> None:
    plan, data = networks()["threshold"]
    device = Device(emitted(tmp_path, trained(plan, data)), tmp_path)
    device.call("init")
    bits = np.zeros(device.size("SAMPLE_WORDS"), np.uint32)
    assert device.call("accumulate_bits", bits, 3) == -1
    for _ in range(device.size("BATCH")):
        assert device.call("accumulate_bits", bits, 1) >= 0
    before = device.call("checksum")
    assert device.call("accumulate_bits", bits, 1) == -1
    assert device.call("checksum") == before
    device.call("end_batch")
    assert device.call("accumulate_bits", bits, 1) >= 0


# ------------------------------------------------------------ what is refused
def test_what_holds_no_training_is_refused(tmp_path: Path) -> None:
    plan, data = networks()["threshold"]
    network = trained(plan, data)
    module = store.loads(network)
    (tmp_path / "plain.bnnm").write_bytes(store.dumps(module))
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (tmp_path / "plain.bnnm", {}, "B0538"),
        (module, {}, "B0538"),
        (module, {"source": str(tmp_path / "no.bnnm")}, "B0407"),
    ]
    (tmp_path / "net.bnnm").write_bytes(network)
    cases.append((tmp_path / "net.bnnm", {"machine": "avr"}, "B0538"))
    for model, options, code in cases:
        with pytest.raises(BnncError) as caught:
            api.emit(model, "c", train=True, **options)
        assert caught.value.diagnostics[0].code == code
    assert "net_train.c" in api.emit(module, "c", train=True, name="net", source=str(tmp_path / "net.bnnm")).files


@pytest.mark.parametrize("damage", ["even", "beyond", "code", "facts", "shape", "other net"])
def test_a_training_that_does_not_fit_together_is_refused(damage: str, tmp_path: Path) -> None:
    plan, data = networks()["threshold"]
    container = store.load_container(trained(plan, data))
    extra, module = dict(container.extra), container.module
    hidden = np.array(extra["state.hidden_1"])
    if damage in ("even", "beyond"):
        hidden[0, 0] = 2 if damage == "even" else 32767
        extra["state.hidden_1"] = hidden
    elif damage == "shape":
        extra["state.hidden_2"] = np.array(extra["state.hidden_2"])[:-1]
    elif damage == "code":
        extra["code.1"] = -np.array(extra["code.1"])
    elif damage == "facts":
        extra["training.json"] = b'{"plan": {"settings": {"margin": "1/0"}}}'
    else:
        other, pair = networks()["patches"]
        module = store.loads(trained(other, pair))
    path = tmp_path / "net.bnnm"
    path.write_bytes(store.dumps(module, extra))
    with pytest.raises(BnncError) as caught:
        api.emit(path, "c", train=True)
    assert caught.value.diagnostics[0].code in ("B0539", "B0535")


@needs_gcc
def test_the_command_line_trains_in_c_and_emits_what_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.bnn").write_text(
        "net tiny {\n  input x: bit[63]\n    -> a: dense(35) -> sign\n    -> classify(4)\n"
        "  train { rule lbe  batch 20  epochs 4 }\n}\n"
    )
    task = "prototypes:classes=4,bits=63,p=1/5,train=200,test=50"
    for on in ("c", "llvm"):
        assert bnnc("train", "net.bnn", "--data", task, "--on", on, "--epochs", "2", "-o", on).code == 0
    assert Path("c/tiny.bnnm").read_bytes() == Path("llvm/tiny.bnnm").read_bytes()
    done = bnnc("emit", "c/tiny.bnnm", "--target", "c", "-X", "train", "-o", "out")
    assert "out/tiny_train.c" in done.out.split()
    assert bnnc("emit", "c/tiny.bnnm", "--target", "c", "-o", "plain").out.count("train") == 0
    # Both parts in one program, and each with its own self-test.
    sources = {path.name: str(path) for path in Path("out").glob("*.c")}
    subprocess.run(["gcc", *STRICT, "-Werror", "-DBNNC_NO_MAIN", "-c", *sources.values()], check=True)
    for part in ("tiny", "tiny_train"):
        files = [sources[f"{part}.c"], sources[f"{part}_selftest.c"]]
        subprocess.run(["gcc", *STRICT, "-Werror", "-o", part, *files], check=True)
        assert subprocess.run([f"./{part}"], check=False).returncode == 0
    # What it needs is part of the budget.
    refused = bnnc("emit", "c/tiny.bnnm", "--target", "c", "-X", "train", "--max-ram", "1KiB", "-o", "small", "--json")
    assert refused.codes == ["B0701"]
    assert bnnc("emit", "c/tiny.bnnm", "--target", "c", "--max-ram", "1KiB", "-o", "small").code == 0


@needs_gcc
def test_the_section_of_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    section = text.partition("\n## On the device\n")[2].partition("\n## ")[0]
    net, console, sketch = re.findall(r"^```(?:console|c)?\n(.*?)^```", section, re.S | re.M)
    Path("gestures.bnn").write_text(net)
    said = ""
    for line in console.splitlines():
        program, *arguments = shlex.split(line.removeprefix("$ "))
        if program == "bnnc":
            assert bnnc(*arguments).code == 0, line
        else:
            said = subprocess.run([program, *arguments], check=True, capture_output=True, text=True).stdout
    assert said.strip() in section
    header = Path("device/gestures_train.h").read_text()
    words = int(re.findall(r"_TRAIN_WORDS (\d+)u", header)[0])
    (kilobytes,) = re.findall(r"A net that fits in (\d+) KB:", section)
    assert words * 4 <= int(kilobytes) * 1024
    called = set(re.findall(r"`(_\w+)`", section))
    assert called == set(re.findall(r"gestures_train(_\w+)\(", header))
    # The sketch learns: what it is trained on, it comes to know.
    data = both("prototypes:classes=4,bits=100,train=2000,test=500", None, fetch=None)
    values, labels = data.train.load()
    Path("device/sketch.c").write_text(
        sketch.replace("int learn", "void begin(void);\nint learn(const int8_t s[], uint32_t l);\nint learn").replace(
            "uint32_t guess", "uint32_t guess(const int8_t s[]);\nuint32_t guess", 1
        )
        + "\nvoid begin(void) {\n    gestures_train_init(state);\n}\n"
    )
    flags = [*STRICT, "-Werror", "-O2", "-shared", "-fPIC", "-o", "sketch.so"]
    subprocess.run(["gcc", *flags, "device/sketch.c", "device/gestures_train.c"], check=True)
    library = ctypes.CDLL(str(Path("sketch.so").resolve()))
    library.begin()
    places = [ctypes.c_void_p(row.ctypes.data) for row in np.ascontiguousarray(values.astype(np.int8))]
    for place, label in zip(places, labels, strict=True):
        assert library.learn(place, ctypes.c_uint32(int(label))) in (0, 1)
    right = sum(library.guess(place) == label for place, label in zip(places[:500], labels[:500], strict=True))
    assert right > 250
