"""How commands end: exit codes, what a diagnostic looks like, JSON for errors, and never a traceback."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bnnc import api
from bnnc.cli.console import for_github
from bnnc.cli.exits import explained
from bnnc.diagnostics import BnncError, Diagnostic, Exit, Location
from tests.cli import MODEL, ROOT, bnnc


def raising(reason: BaseException) -> Any:
    def load(*_: object, **__: object) -> None:
        raise reason

    return load


PLACES = (Location("conv1", "net.onnx"), Location("conv2", "net.onnx"), Location("", "net.bnn", 4, 30))
TWO = BnncError(
    Diagnostic("B0401", "first", places=PLACES, notes=("a note",), helps=("type this",)), Diagnostic("B0402", "second")
)


def test_a_diagnostic_has_its_places_notes_and_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "load", raising(TWO))
    done = bnnc("show", MODEL)
    assert done.code == 1
    assert done.out == ""
    assert done.err == (
        "error[B0401]: first\n"
        " --> net.bnn:4:30\n"
        " --> net.onnx: node `conv1`, node `conv2`\n"
        "  = note: a note\n"
        "  = help: type this\n"
        "error[B0402]: second\n"
        "  = help: bnnc explain B0402\n"
    )


def test_all_diagnostics_are_in_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "load", raising(TWO))
    done = bnnc("compile", MODEL, "--json")
    assert done.json["schema"] == "bnnc.compile/1"
    assert done.json["ok"] is False
    assert done.codes == ["B0401", "B0402"]
    assert done.json["diagnostics"][0]["places"][2] == {"name": "", "file": "net.bnn", "line": 4, "column": 30}
    assert "error[B0401]" in done.err


def test_quiet_still_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "load", raising(TWO))
    assert "error[B0401]" in bnnc("show", MODEL, "-q").err


def test_the_form_for_pull_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "load", raising(TWO))
    done = bnnc("show", MODEL, "--message-format", "github")
    assert done.err.splitlines()[0].startswith("::error file=net.onnx,title=B0401::first%0A")
    tricky = Diagnostic("B0401", "50 %\nof it", places=(Location("", "a,b:c", 3, 4),))
    assert (
        for_github(tricky)
        == "::error file=a%2Cb%3Ac,line=3,col=4,title=B0401::50 %25%0Aof it%0Ahelp: bnnc explain B0401"
    )
    assert bnnc("show", MODEL, "--message-format", "gitlab").code == 2


@pytest.mark.parametrize(
    ("reason", "code", "exit_code"),
    [
        (MemoryError(), "B0607", 4),
        (OSError(28, "No space left on device", "x"), "B0606", 4),
        (PermissionError(13, "Permission denied", "x"), "B0606", 4),
        (KeyboardInterrupt(), "B0902", 130),
        (RecursionError("deep"), "B0901", 70),
        (KeyError("LSTM"), "B0901", 70),
        (AssertionError(), "B0901", 70),
    ],
)
def test_every_exception_has_an_exit_code(
    reason: BaseException, code: str, exit_code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(api, "load", raising(reason))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    done = bnnc("show", MODEL, "--json")
    assert done.code == exit_code
    assert done.codes == [code]
    assert "Traceback" not in done.err + done.out


def test_a_bug_saves_a_reproducer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(api, "load", raising(ZeroDivisionError("oh")))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    done = bnnc("show", MODEL)
    assert "ZeroDivisionError: oh" in done.err
    (saved,) = tmp_path.iterdir()
    assert f"saved {saved}" in done.err
    assert "Traceback (most recent call last)" in saved.read_text()
    assert "Traceback" in bnnc("show", MODEL, BNNC_DEBUG="1").err


def test_a_bug_on_a_full_disk_is_still_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.NamedTemporaryFile", raising(OSError(28, "full")))
    (diagnostic,), code = explained(ValueError("x"), "show")
    assert code == Exit.INTERNAL
    assert "BNNC_DEBUG" in diagnostic.notes[1]


def test_color_is_only_for_terminals_or_when_asked_for() -> None:
    wrong = ["show", "nowhere.onnx"]
    assert "\x1b[" not in bnnc(*wrong).err
    assert "\x1b[" in bnnc(*wrong, "--color", "always", TERM="xterm").err
    assert "\x1b[" not in bnnc(*wrong, "--color", "never", FORCE_COLOR="1").err
    assert "\x1b[" in bnnc(*wrong, FORCE_COLOR="1", TERM="xterm").err
    assert bnnc(*wrong, "--color", "pink").code == 2


MISTAKES: dict[str, tuple[bytes, str]] = {
    "empty.onnx": (b"", "B0403"),
    "text.onnx": (b"hello, this is no model\n" * 20, "B0403"),
    "pointer.onnx": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n",
        "B0403",
    ),
    "truncated.onnx": (MODEL.read_bytes()[:50_000], "B04"),
    "net.pt": (b"PK\x03\x04" + b"archive/data.pkl" * 9, "B0403"),
    "net.bnnm": (b"no container", "B0420"),
    "net.h5": (b"\x89HDF\r\n", "B0403"),
}


@pytest.mark.parametrize("command", ["compile", "run", "check", "show", "bench", "emit"])
@pytest.mark.parametrize("name", MISTAKES)
def test_what_is_not_a_model_is_the_users_to_mend(
    name: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content, code = MISTAKES[name]
    (tmp_path / name).write_bytes(content)
    more = ["--input", str(MODEL)] if command == "run" else []
    done = bnnc(command, name, *more, "--json")
    assert done.code == 1
    assert done.codes[0].startswith(code)
    assert [path.name for path in tmp_path.rglob("*")] == [name]


def test_a_model_that_is_not_there_suggests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"x")
    done = bnnc("show", "modle.onnx", "--json")
    assert done.codes == ["B0407"]
    assert done.json["diagnostics"][0]["help"] == ["did you mean `model.onnx`?"]
    assert bnnc("show", tmp_path, "--json").codes == ["B0407"]


def test_an_interrupted_process_ends_with_130_and_no_traceback(tmp_path: Path) -> None:
    script = (
        "import signal, sys, time, bnnc.api\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # background jobs of shells ignore it
        "def load(*a, **k):\n    print('ready', flush=True)\n    time.sleep(60)\n"
        "bnnc.api.load = load\n"
        f"sys.argv = ['bnnc', 'show', {str(MODEL)!r}]\n"
        "from bnnc.__main__ import main\nmain()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "interrupted" in errors


def test_a_reader_that_stops_reading_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m bnnc show {MODEL} --print-after all | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    assert re.match("# after", done.stdout)


def test_the_document_is_one_line_whatever_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in (["compile"], ["run", "x.onnx"], ["check", "x"], ["explain", "?"], ["targets", "?"]):
        done = bnnc(*arguments, "--json")
        assert done.code in (1, 2)
        document = json.loads(done.out)
        assert document["ok"] is False
        assert len(document["diagnostics"]) == 1
