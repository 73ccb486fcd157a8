"""Where `compile` and `emit` write: whole or not at all, never into a folder that is not theirs."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from pathlib import Path

import pytest

from bnnc.cli.files import MARKER, write_file, write_folder
from bnnc.diagnostics import BnncError
from tests import toy
from tests.cli import MODEL, bnnc


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "package").mkdir()
    toy.install(tmp_path / "package", monkeypatch)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def everything() -> set[str]:
    return {str(path.relative_to(Path.cwd())) for path in Path.cwd().rglob("*")}


def test_the_default_folder_is_named_after_the_net_and_the_target() -> None:
    done = bnnc("compile", MODEL, "-t", "toy", "--json")
    assert done.json["artifacts"] == ["build/model/toy/layers.txt", "build/model/toy/facts.json"]
    inside = {"layers.txt", "facts.json", MARKER}
    assert everything() == {"build", "build/last.json", "build/model", "build/model/toy"} | {
        f"build/model/toy/{name}" for name in inside
    }


def test_a_second_run_replaces_the_first_and_leaves_what_is_not_ours() -> None:
    write_folder(Path("out"), {"a.txt": b"1", "sub/b.txt": b"2"}, force=False)
    Path("out/mine.txt").write_text("mine")
    write_folder(Path("out"), {"a.txt": b"3"}, force=False)
    assert Path("out/a.txt").read_bytes() == b"3"
    assert Path("out/mine.txt").read_text() == "mine"
    assert not Path("out/sub/b.txt").exists()


def test_a_folder_that_is_not_ours_is_not_written_to() -> None:
    Path("out").mkdir()
    Path("out/thesis.tex").write_text("mine")
    done = bnnc("compile", MODEL, "-t", "toy", "-o", "out", "--json")
    assert done.code == 2
    assert done.codes == ["B0106"]
    assert everything() == {"out", "out/thesis.tex"}
    assert bnnc("compile", MODEL, "-t", "toy", "-o", "out", "--force").code == 0
    assert {"out/thesis.tex", "out/layers.txt"} <= everything()
    assert bnnc("compile", MODEL, "-t", "toy", "-o", "out").code == 0


def test_an_empty_folder_may_be_used() -> None:
    Path("out").mkdir()
    assert bnnc("emit", MODEL, "-t", "toy", "-o", "out").code == 0


def test_a_file_in_the_way_is_an_error() -> None:
    Path("out").write_text("mine")
    done = bnnc("emit", MODEL, "-t", "toy", "-o", "out", "--force", "--json")
    assert (done.code, done.codes) == (2, ["B0106"])


def test_a_dry_run_writes_nothing() -> None:
    done = bnnc("compile", MODEL, "-t", "toy", "--dry-run", "--json")
    assert done.code == 0
    assert done.json["artifacts"] == ["build/model/toy/layers.txt", "build/model/toy/facts.json"]
    assert everything() == set()


def full_disk(path: Path, content: bytes) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def test_a_full_disk_leaves_nothing_half_written(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full_disk)
        done = bnnc("compile", MODEL, "-t", "toy", "-o", "a/b/out", "--json")
    assert done.code == 4
    assert done.codes == ["B0606"]
    assert "no space left" in done.json["diagnostics"][0]["message"]
    assert everything() == set()


def test_a_full_disk_leaves_the_previous_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bnnc("compile", MODEL, "-t", "toy", "-o", "out").code == 0
    before = {path: Path(path).read_bytes() for path in everything() if Path(path).is_file()}
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full_disk)
        assert bnnc("compile", MODEL, "-t", "toy", "-o", "out", "-X", "title=other").code == 4
    assert {path: Path(path).read_bytes() for path in everything() if Path(path).is_file()} == before


def test_a_folder_that_cannot_be_made() -> None:
    Path("file").write_text("mine")
    done = bnnc("compile", MODEL, "-t", "toy", "-o", "file/out", "--json")
    assert (done.code, done.codes) == (4, ["B0606"])
    assert everything() == {"file"}


def test_a_read_only_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "locked")

    with monkeypatch.context() as patch:
        patch.setattr("tempfile.mkdtemp", refuse)
        done = bnnc("emit", MODEL, "-t", "toy", "-o", "locked/out", "--json")
    assert done.code == 4
    assert done.codes == ["B0606"]
    assert "--output" in done.json["diagnostics"][0]["help"][0]
    assert everything() == set()


def test_run_writes_its_output_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out.npz")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", refuse)
        with pytest.raises(OSError, match="No space"):
            write_file(Path("new/deep/out.npz"), b"x" * 100)
    assert everything() == set()


def test_a_pipe_is_written_into_and_not_replaced() -> None:
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_file(Path("pipe"), b"content")
    assert os.read(reader, 100) == b"content"
    os.close(reader)
    assert Path("pipe").is_fifo()


def test_a_folder_is_no_place_for_a_file() -> None:
    Path("folder").mkdir()
    with pytest.raises(IsADirectoryError, match="folder"):
        write_file(Path("folder"), b"content")
    assert everything() == {"folder"}


def test_a_target_cannot_write_outside_its_folder() -> None:
    for name in ("../evil", "/evil", "a/../../evil"):
        with pytest.raises(BnncError, match="outside its folder"):
            write_folder(Path("out"), {name: b""}, force=False)
    assert everything() == set()


def test_written_files_can_be_read_by_others() -> None:
    old = os.umask(0o022)
    try:
        write_folder(Path("out"), {"a": b""}, force=False)
        write_file(Path("b"), b"")
    finally:
        os.umask(old)
    assert stat.S_IMODE(Path("out").stat().st_mode) == 0o755
    assert stat.S_IMODE(Path("out/a").stat().st_mode) == 0o644
    assert stat.S_IMODE(Path("b").stat().st_mode) == 0o644


def test_equal_inputs_give_equal_bytes() -> None:
    for folder in ("one", "two"):
        assert bnnc("compile", MODEL, "-t", "toy", "-o", folder, "--check=2").code == 0
    done = subprocess.run(["diff", "-r", "one", "two"], capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_the_last_model_is_remembered() -> None:
    bnnc("compile", MODEL, "-t", "toy")
    done = bnnc("emit", "-t", "toy", "-o", "source")
    assert done.code == 0
    assert done.out == "source/layers.txt\n"
    assert "last compiled" in done.err
