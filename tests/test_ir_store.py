"""The container gives back what was stored, is small, is always the same bytes, and never trusts a file."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bnnc.diagnostics import BnncError
from bnnc.frontends.bnnm import Frontend
from bnnc.ir import bit, nn
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.packing import PackingError, pack, unpack
from bnnc.ir.store import dumps, load_container, loads
from bnnc.ir.text import print_module
from bnnc.ir.types import F32, Bit
from bnnc.protocols import ImportOptions
from tests.strategies import modules
from tests.test_ir_text import assert_same

RELAXED = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))


def small(channels: int = 64, dtype: type = np.int8) -> Module:
    rng = np.random.default_rng(0)
    x = Input(name="x", dtype=Bit(), shape=(channels, 8, 8))
    weights: np.ndarray = rng.choice([-1, 1], (64, channels, 3, 3)).astype(dtype)
    conv = bit.Conv(x=x, weights=weights, strides=(1, 1), pads=(1, 1, 1, 1), dilations=(1, 1))
    steps = rng.integers(-9, 9, (64, 1)).astype(np.int32)
    values = np.tile(np.array([-1, 1], np.int32), (64, 1))
    return Module("net", (x,), (Output("y", bit.Step(x=conv, thresholds=steps, values=values, dtype=Bit())),))


@RELAXED
@given(modules())
def test_nothing_is_lost_and_equal_modules_give_equal_bytes(module: Module) -> None:
    data = dumps(module)
    loaded = loads(data)
    assert_same(module, loaded)
    assert dumps(loaded) == data


ARRAYS = [
    np.array([[1, 0, 1], [0, 0, 1]], np.int8),
    np.array([1, 0], np.float32),
    np.tile(np.array([[1, -1, 1], [-1, -1, 1]], np.int8), (6, 7, 1, 1)),
    np.tile(np.array([1, -1, 1, -1, -1, 1, 1, 1, 1], np.float32).reshape(3, 3), (20, 5, 1, 1)),
    np.array([[1, -1, 1], [-1, -1, 1]], np.int8),
    np.array([1, 0, -1] * 7, np.int16),
    np.array([1, -1, 0], np.float32),
    np.array([1, -1, -0.0], np.float32),
    np.array([np.nan, 1], np.float32),
    np.array([np.nan, np.inf, -np.inf, 1e-45], np.float32),
    np.array(3, np.int64),
    np.zeros((2, 0, 3), np.int8),
    np.array([-128, 127], np.int8),
    np.array([-(2**63), 2**63 - 1]),
    np.array([True, False, True]),
    np.arange(5, dtype=np.uint8),
    np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
]


@pytest.mark.parametrize("array", ARRAYS, ids=repr)
def test_arrays_come_back_bit_for_bit(array: np.ndarray) -> None:
    found = unpack(pack(array))
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.float32])
def test_weights_are_stored_at_their_packed_size(dtype: type) -> None:
    signs: np.ndarray = np.random.default_rng(0).choice([-1, 1], 8000).astype(dtype)
    assert len(pack(signs)) == 1000 + 12
    signs[17] = 0
    assert len(pack(signs)) == 1000 + 12 + 8
    np.testing.assert_array_equal(unpack(pack(signs)), signs)
    for damaged in (pack(signs)[:-1], pack(signs)[:14], pack(signs)[:12] + b"\xff" * 4 + pack(signs)[16:]):
        with pytest.raises(PackingError):
            unpack(damaged)
    signs[::3] = 0
    assert len(pack(signs)) == 2000 + 12


def test_kernels_of_a_codebook_are_stored_as_numbers() -> None:
    rng = np.random.default_rng(0)
    book = rng.choice([-1, 1], (16, 3, 3)).astype(np.int8)
    weights = book[rng.integers(0, 16, (64, 64))]
    data = pack(weights)
    assert len(data) <= 64 * 64 * 4 // 8 + 64
    np.testing.assert_array_equal(unpack(data), weights)
    for place in range(8, len(data), 97):  # whatever is changed, it is refused or another array, never a crash
        damaged = bytearray(data)
        damaged[place] ^= 0x55
        with contextlib.suppress(PackingError):
            assert set(np.unique(unpack(bytes(damaged)))) <= {-1, 1}
    for cut in (12, 25, 27, len(data) - 1):
        with pytest.raises(PackingError):
            unpack(data[:cut])


def test_a_network_of_bits_takes_bits() -> None:
    assert len(dumps(small(128))) < 64 * 128 * 9 / 8 + 64 * 4 * 3 + 3000


def test_an_array_of_objects_cannot_be_stored() -> None:
    with pytest.raises(ValueError, match="object"):
        pack(np.array([None]))


def test_extra_parts_come_back() -> None:
    state = np.arange(6, dtype=np.int16).reshape(2, 3)
    found = load_container(dumps(small(), {"state": state, "report.json": b"{}"})).extra
    assert found["report.json"] == b"{}"
    np.testing.assert_array_equal(found["state"], state)
    with pytest.raises(ValueError, match="cannot name"):
        dumps(small(), {"../evil": b""})


def test_the_file_is_a_plain_zip_without_dates() -> None:
    with zipfile.ZipFile(io.BytesIO(dumps(small()))) as archive:
        entries = archive.infolist()
        assert [entries[0].filename, entries[-1].filename] == ["module.ir", "meta.json"]
        assert all(entry.date_time == (1980, 1, 1, 0, 0, 0) for entry in entries)
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
        assert archive.read("module.ir").decode() == print_module(small())
        assert json.loads(archive.read("meta.json"))["version"] == 1


# --- bad files --------------------------------------------------------------------------------------------------------


Change = Callable[[dict[str, bytes]], object]


def rezip(change: Change, sums: bool = True, compression: int = zipfile.ZIP_STORED) -> bytes:
    """The small container with its members changed, and its checksums made to fit unless told not to."""
    import hashlib

    with zipfile.ZipFile(io.BytesIO(dumps(small()))) as archive:
        members = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    change(members)
    if sums and "meta.json" in members:
        meta = json.loads(members["meta.json"])
        meta["sha256"] = {n: hashlib.sha256(c).hexdigest() for n, c in members.items() if n != "meta.json"}
        members["meta.json"] = json.dumps(meta).encode()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def code_of(data: bytes) -> str:
    with pytest.raises(BnncError) as caught:
        loads(data, "net.bnnm")
    assert "net.bnnm" in caught.value.diagnostics[0].message
    return caught.value.diagnostics[0].code


def set_version(version: object) -> Change:
    def change(members: dict[str, bytes]) -> None:
        members["meta.json"] = json.dumps({**json.loads(members["meta.json"]), "version": version}).encode()

    return change


def first_array(members: dict[str, bytes]) -> str:
    return next(name for name in members if name.startswith("arrays/"))


def edit(name: str, change: Callable[[bytes], bytes]) -> Change:
    def apply(members: dict[str, bytes]) -> None:
        key = first_array(members) if name == "array" else name
        members[key] = change(members[key])

    return apply


def test_what_is_no_container_is_refused() -> None:
    assert code_of(b"") == "B0420"
    assert code_of(b"hello") == "B0420"
    assert code_of(b"version https://git-lfs.github.com/spec/v1\n") == "B0403"
    assert code_of(rezip(lambda m: m.pop("meta.json"))) == "B0420"
    assert code_of(rezip(edit("meta.json", lambda _: b"[" * 100000), sums=False)) == "B0420"
    assert code_of(rezip(edit("meta.json", lambda _: b"[]"), sums=False)) == "B0420"
    assert code_of(rezip(lambda m: None, compression=zipfile.ZIP_DEFLATED)) == "B0420"
    assert code_of(rezip(lambda m: m.update({"other": b"x"}))) == "B0420"
    assert code_of(rezip(lambda m: m.update({"arrays/0123456789abcdef": b"x"}))) == "B0422"


@pytest.mark.parametrize("version", [2, 0, -1, "1", None, 1.0, True, 10**30])
def test_another_version_is_refused(version: object) -> None:
    assert code_of(rezip(set_version(version))) == "B0421"


def test_damage_is_found() -> None:
    assert code_of(rezip(edit("array", lambda b: b[:-1] + b"\0"), sums=False)) == "B0422"
    assert code_of(rezip(edit("array", lambda b: b[:-1] + bytes([b[-1] ^ 1])))) == "B0422"
    assert code_of(rezip(edit("array", lambda b: b[:-1]))) == "B0422"
    assert code_of(rezip(edit("module.ir", lambda b: b"\xff" + b))) == "B0422"
    assert code_of(rezip(edit("module.ir", lambda b: b.replace(b"bit.conv", b"bit.curl")))) == "B0423"
    assert code_of(rezip(edit("module.ir", lambda b: b""))) == "B0423"
    assert code_of(rezip(lambda m: m.pop("module.ir"))) == "B0422"
    assert code_of(rezip(lambda m: m.pop(first_array(m)))) == "B0423"


def test_an_array_that_no_op_reads_is_refused() -> None:
    other = dumps(small(dtype=np.int16))
    with zipfile.ZipFile(io.BytesIO(other)) as archive:
        name = next(n for n in archive.namelist() if n.startswith("arrays/"))
        content = archive.read(name)
    assert code_of(rezip(lambda m: m.update({name: content}))) == "B0420"


def test_two_members_of_one_name_are_refused() -> None:
    stream = io.BytesIO(dumps(small()))
    with zipfile.ZipFile(stream, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("module.ir", b"")
    assert code_of(stream.getvalue()) == "B0420"


def test_a_member_that_claims_to_be_larger_than_the_file_is_refused() -> None:
    data = bytearray(dumps(small()))
    place = data.rindex(b"PK\x01\x02")
    for offset in (20, 24):  # compressed and uncompressed size in the central directory
        data[place + offset : place + offset + 4] = (2**31).to_bytes(4, "little")
    assert code_of(bytes(data)) in ("B0420", "B0422")


def test_a_module_that_does_not_verify_is_the_fault_of_the_file() -> None:
    constant = nn.Constant(values=np.full(9, np.inf, np.float32))
    x = Input(name="x", dtype=F32(), shape=(9,))
    module = Module("net", (x,), (Output("y", nn.Map(function="add", xs=(x, constant))),))
    assert code_of(dumps(module)) == "B0423"


def test_every_truncation_is_found() -> None:
    data = dumps(small(2))
    for length in [*range(0, len(data), 97), *range(len(data) - 30, len(data))]:
        with pytest.raises(BnncError):
            loads(data[:length])


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_flipped_bytes_never_give_a_traceback(data: st.DataObject) -> None:
    """Whatever is changed in the zip structure or content: either it is found, or it did not matter."""
    original = dumps(small(2))
    broken = bytearray(original)
    for _ in range(data.draw(st.integers(1, 5))):
        tail = data.draw(st.booleans())  # half of the changes into the central directory
        place = data.draw(st.integers(len(broken) - 400 if tail else 0, len(broken) - 1))
        broken[place] = data.draw(st.integers(0, 255))
    try:
        loaded = loads(bytes(broken))
    except BnncError:
        return
    assert_same(loads(original), loaded)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_an_array_or_refused(data: bytes, headed: bool) -> None:
    whole = pack(np.array([[1, -1], [0, 1]], np.int8))[:8] + data if headed else data
    try:
        array = unpack(whole)
    except PackingError:
        return
    assert array.nbytes <= 64 * len(whole)


def test_a_header_cannot_ask_for_much_memory() -> None:
    header = pack(np.ones(9, np.int8))[:8]
    for count in (2**32 - 1, 9 + 8):
        with pytest.raises(PackingError):
            unpack(header + count.to_bytes(4, "little") + b"\0\0")


def test_the_frontend_reads_files(tmp_path: Path) -> None:
    path = tmp_path / "net.bnnm"
    path.write_bytes(dumps(small()))
    module = Frontend().load(path, ImportOptions(shapes={"x": (1, 64, 8, 8)}))
    assert_same(module, small())
    for options in (ImportOptions(shapes={"x": (1, 64, 9, 9)}), ImportOptions(pixels={"": (1.0, (), ())})):
        with pytest.raises(BnncError) as caught:
            Frontend().load(path, options)
        assert "fixed" in caught.value.diagnostics[0].message
    with pytest.raises(BnncError) as caught:
        Frontend().load(tmp_path / "none.bnnm", ImportOptions())
    assert "none.bnnm" in caught.value.diagnostics[0].message
