"""What the language says when a net is wrong: the whole text of every message, and that hostile files get one too."""

from __future__ import annotations

import contextlib
import resource
import time
from pathlib import Path

import numpy as np
import pytest

from bnnc.cli.console import rendered
from bnnc.data import npz
from bnnc.diagnostics import BnncError
from bnnc.frontends.dsl import Frontend
from bnnc.frontends.dsl.layers import LAYERS
from bnnc.protocols import ImportOptions
from tests.shared import ROOT

GOLDEN = ROOT / "tests" / "golden" / "dsl"
CASES = sorted(GOLDEN.glob("*.bnn"))


def refusal(path: Path) -> BnncError:
    """What is wrong with the net in a file, by loading it, or else by planning its training."""
    reader = Frontend()
    try:
        reader.load(path, ImportOptions(sketch="train" in path.read_text(encoding="utf-8")))
    except BnncError as refused:
        return refused
    with pytest.raises(BnncError) as caught:
        reader.plan(path)
    return caught.value


def shown(refused: BnncError) -> str:
    return "\n".join("".join(text for _, text in rendered(each)) for each in refused.diagnostics)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_message_is_the_golden_one(path: Path, request: pytest.FixtureRequest) -> None:
    text = shown(refusal(path))
    golden = path.with_suffix(".txt")
    if request.config.getoption("--update-golden"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_marks_stand_under_what_they_mark(path: Path) -> None:
    for diagnostic in refusal(path).diagnostics:
        assert diagnostic.code.startswith(("B02", "B03"))
        assert diagnostic.message == diagnostic.message.strip(" .")
        for excerpt in diagnostic.excerpts:
            line = path.read_text(encoding="utf-8").splitlines()[excerpt.place.line - 1]
            assert excerpt.width >= 1
            assert excerpt.place.column <= len(line) + 1


def source(tmp_path: Path, data: bytes | str, name: str = "net.bnn") -> Path:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def net(lines: str) -> str:
    return f"net a {{\n    input x: bit[8, 4, 4]\n{lines}\n}}\n"


HOSTILE = {
    "empty": b"",
    "blank": b" \n\n",
    "nul": b"net a { input x: bit[3] \0 -> sign }",
    "latin": "net é { input x: bit[3] -> sign }".encode("latin-1"),
    "utf16": "net a { input x: bit[3] -> sign }".encode("utf-16"),
    "picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 10,
    "ten megabytes": b"# comment\n" * 1_000_000,
    "one long line": b"net a { input x: bit[3] " + b"-> sign " * 30_000,
    "deep brackets": b"net a { input x: bit[3] -> dense(" + b"(" * 400_000,
    "deep lists": b"net a { input x: bit[3] -> gather(" + b"[" * 400_000,
    "deep nets": b"net a {" * 100_000,
    "long number": b"net a { input x: bit[" + b"9" * 900_000 + b"] }",
    "large exponent": b"net a { input x: f32[3] -> mul(1e999999999) }",
    "many terms": b"net a { let n = 1" + b" * 9" * 50_000 + b" input x: bit[3] -> sign }",
    "many signs": b"net a { let n = " + b"-" * 500_000 + b"1 input x: bit[3] -> sign }",
    "long name": b"net a { input x: bit[3] -> " + b"s" * 900_000 + b" }",
    "long string": b'net a { weights "' + b"s" * 900_000 + b'" input x: bit[3] -> sign }',
    "open string": b'net a { weights "x.npz\n input x: bit[3] -> sign }',
    "bad escape": b'net a { weights "\\q" input x: bit[3] -> sign }',
    "odd folder": b'net a { weights "/dev/zero" input x: bit[3] -> sign }',
    "folder": b'net a { weights ".npz" input x: bit[3] -> dense(3) }',
    "wide layers": b"net a { weights random(1) input x: bit[100000] -> dense(1000000) }",
    "many layers": b"net a { weights random(1) input x: bit[16000]" + b"-> dense(16000) -> sign" * 9 + b"}",
    "large window": b"net a { weights random(1) input x: bit[1, 99, 99] -> conv(99999, 99x99) }",
    "large padding": b"net a { input x: bit[64, 64, 64] -> pad(100000) }",
    "large pool": b"net a { input x: bit[2, 4, 4] -> sumpool(1000000, pad=999999) }",
    "large shuffle": b"net a { input x: bit[200000000] -> shuffle(7) }",
    "long sequence": b"net a { weights random(1) input x: bit[200000, 3] -> recurrent(3) }",
    "wide code": b"net a { input x: code<60,1,0>[3] -> sign }",
    "turned int": b"net a { input x: int<5,-5>[3] -> sign }",
    "odd code": b"net a { input x: code<1>[3] -> sign }",
    "many axes": b"net a { input x: bit[" + b"1," * 5000 + b"1] -> sign }",
    "no axes": b"net a { input x: bit[] -> sign }",
    "size of many axes": b"net a { input x: bit[3, 3, 3] -> conv(3, " + b"3x" * 100_000 + b"3) }",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_get_a_message(name: str, tmp_path: Path) -> None:
    path, start = source(tmp_path, HOSTILE[name]), time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BnncError) as caught:
        Frontend().load(path, ImportOptions())
    text = shown(caught.value)
    assert "B0" in text
    assert len(text) < 20_000
    assert max(len(line) for line in text.splitlines()) < 1000
    assert time.process_time() - start < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_500_000


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""])
def test_a_byte_order_mark_and_windows_line_ends_are_no_error(mark: bytes, tmp_path: Path) -> None:
    path = source(tmp_path, mark + b"net a {\r\n\tinput x: bit[8]\r\n\t\t-> sign # end\r\n}\r\n")
    assert str(Frontend().load(path, ImportOptions()).outputs[0].value.type) == "bit[8]"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BnncError, match="B0407"):
        Frontend().load(tmp_path, ImportOptions())


def test_options_that_a_net_does_not_take(tmp_path: Path) -> None:
    path = source(tmp_path, net("x -> sign"))
    for options in (ImportOptions(shapes={"x": (1, 8, 4, 4)}), ImportOptions(pixels={"": (1.0, (0.0,), (1.0,))})):
        with pytest.raises(BnncError, match="B0214"):
            Frontend().load(path, options)


@pytest.mark.parametrize(
    ("field", "array", "words"),
    [
        ("fc.weights", np.ones((3, 9), np.int8), "needs [3, 8]"),
        ("fc.weights", np.zeros((3, 8), np.int8), "takes -1 and 1"),
        ("fc.weights", np.full((3, 8), 0.5, np.float32), "whole numbers"),
        ("fc.weights", np.full((3, 8), np.nan, np.float32), "whole numbers"),
        ("fc.weights", np.full((3, 8), "a"), "no numbers"),
        ("fc1.weights", np.ones((3, 8), np.int8), "did you mean `fc1`?"),
        ("other", np.ones((3, 8), np.int8), "has no `fc.weights`"),
    ],
)
def test_weights_that_do_not_fit(field: str, array: np.ndarray, words: str, tmp_path: Path) -> None:
    (tmp_path / "w.npz").write_bytes(npz.dump({field: array}))
    path = source(tmp_path, 'net a { weights "w.npz" input x: bit[8] -> fc: dense(3) }')
    with pytest.raises(BnncError, match="B0208") as caught:
        Frontend().load(path, ImportOptions())
    assert words in shown(caught.value)


def test_a_damaged_file_of_weights(tmp_path: Path) -> None:
    for name in ("w.npz", "w.bnnm"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 nothing")
        path = source(tmp_path, f'net a {{ weights "{name}" input x: bit[8] -> fc: dense(3) }}')
        with pytest.raises(BnncError, match="B0208"):
            Frontend().load(path, ImportOptions())


ARGUMENTS = (
    "", "(1)", "(0)", "(-1, 2, 3, 4)", "([])", "([1, 2], [3])", "(2x2)", "(x)", "(x, x)", "(1/3)", "(bit)",
    "([[1, 2], [3]])", "(all, stride=3)", "(1000000, 1000000)", "(file)", "(axis=9)", "(a=1)",
)  # fmt: skip


@pytest.mark.parametrize("layer", sorted(LAYERS))
def test_any_arguments_give_a_message_or_a_layer(layer: str, tmp_path: Path) -> None:
    """Every layer with arguments of the wrong kind, number and size: no exception but BnncError."""
    for arguments in ARGUMENTS:
        for start in ("x", "x -> flatten", "x -> flatten -> decode", "x -> sumpool(all) -> reduce(sum)"):
            text = net(f"output y = {start} -> {layer}{arguments}\nweights random(1)")
            with contextlib.suppress(BnncError):
                Frontend().load(source(tmp_path, text), ImportOptions())
