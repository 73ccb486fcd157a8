"""Fetching data sets, against a server on this machine that behaves in every way in which mirrors behave."""

from __future__ import annotations

import gzip
import hashlib
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from bnnc.data.download import Fetch, cache_folder
from bnnc.data.mirrors import MIRRORS, Mirrors, Published
from bnnc.data.registry import find
from bnnc.diagnostics import BnncError, Diagnostic
from tests.cli import MODEL, bnnc
from tests.shared import SHARED, needs_shared

GENERATOR = np.random.default_rng(8)
IMAGES = GENERATOR.integers(0, 256, (400, 28, 28), np.uint8)
LABELS = GENERATOR.integers(0, 10, 400, np.uint8)
FILES = {
    "t10k-images-idx3-ubyte.gz": gzip.compress(struct.pack(">IIII", 0x803, 400, 28, 28) + IMAGES.tobytes(), 6, mtime=0),
    "t10k-labels-idx1-ubyte.gz": gzip.compress(struct.pack(">II", 0x801, 400) + LABELS.tobytes(), 6, mtime=0),
}


class Mirror(BaseHTTPRequestHandler):
    """The first folder of the path says how this mirror behaves."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        behaviour, *_, name = self.path.strip("/").split("/")
        content = FILES[name]
        if behaviour == "gone":
            self.send_error(404)
        elif behaviour == "moved":
            self.send_response(302)
            self.send_header("Location", f"/good/{name}")
            self.end_headers()
        elif behaviour == "endless":
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(4000):
                    self.wfile.write(bytes(1 << 16))
            except OSError:
                self.asked.append("hung up")
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if behaviour == "truncated":
                self.wfile.write(content[: len(content) // 2])
            elif behaviour == "another":
                self.wfile.write(content[:-1] + b"!")
            elif behaviour == "stalled":
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                time.sleep(1.5)
            elif behaviour == "slow":
                step = len(content) // 4 + 1
                for start in range(0, len(content), step):
                    self.wfile.write(content[start : start + step])
                    self.wfile.flush()
                    time.sleep(0.05)
            elif behaviour == "unpacking":
                assert self.headers["Accept-Encoding"] == "identity"
                self.wfile.write(content)
            else:
                self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing is written to the terminal."""


@pytest.fixture
def server() -> Iterator[str]:
    Mirror.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and a working folder with nothing in them; no variable of the caller's."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    for name in ("BNNC_MIRRORS", "BNNC_DATA"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def fetch(server: str, *behaviours: str, **more: object) -> Fetch:
    files = tuple(Published(n, f"sha256:{hashlib.sha256(c).hexdigest()}", len(c)) for n, c in FILES.items())
    addresses = tuple(f"{server}/{behaviour}" for behaviour in behaviours)
    made = Fetch({"mnist": Mirrors(addresses, {"test": files, "train": files})}, patience=(5, 0.5))
    return replace(made, **more)  # type: ignore[arg-type]


def kept(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "cache").rglob("*") if path.is_file())


def failure(given: Fetch, data_dir: Path | None = None) -> Diagnostic:
    with pytest.raises(BnncError) as caught:
        find("mnist", "test", data_dir, fetch=given)
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, int(caught.value.exit_code)) == ("B0503", 4)
    return diagnostic


@pytest.mark.parametrize("behaviour", ["good", "slow", "moved", "unpacking"])
def test_a_data_set_is_fetched_once(server: str, home: Path, behaviour: str) -> None:
    found = find("mnist", "test", fetch=fetch(server, behaviour))
    images, labels = found.load()
    assert np.array_equal(images[:, 0], IMAGES)
    assert np.array_equal(labels, LABELS)
    assert kept(home) == sorted(FILES)
    assert (home / "cache" / "bnnc" / "mnist" / "t10k-images-idx3-ubyte.gz").is_file()
    asked = len(Mirror.asked)
    find("mnist", "test", fetch=fetch(server, behaviour)).load()
    assert len(Mirror.asked) == asked


REASONS = {
    "gone": "404 Not Found",
    "truncated": "the connection broke off",
    "another": "the checksum is not sha256:",
    "stalled": "no answer in time",
    "endless": "more than the",
}


@pytest.mark.parametrize("behaviour", REASONS)
def test_a_bad_mirror_is_named_with_the_reason_and_leaves_nothing(server: str, home: Path, behaviour: str) -> None:
    diagnostic = failure(fetch(server, behaviour))
    assert "could not be fetched" in diagnostic.message
    where, *tried = diagnostic.notes
    assert "`data/mnist`" in where
    assert str(home / "cache" / "bnnc" / "mnist") in where
    (one,) = tried
    assert one.startswith(f"{server}/{behaviour}/t10k-images-idx3-ubyte.gz: ")
    assert REASONS[behaviour] in one
    assert "--data-dir" in diagnostic.helps[0]
    assert kept(home) == []


@pytest.mark.parametrize("behaviour", REASONS)
def test_the_next_mirror_is_tried(server: str, home: Path, behaviour: str) -> None:
    found = find("mnist", "test", fetch=fetch(server, behaviour, "good"))
    assert np.array_equal(found.load()[1], LABELS)
    assert kept(home) == sorted(FILES)
    bad = [path for path in Mirror.asked if path.startswith(f"/{behaviour}/")]
    assert len(bad) == 1  # a bad mirror is not asked for the second file


def test_a_transfer_that_does_not_end_is_cut_off(server: str) -> None:
    failure(fetch(server, "endless"))
    for _ in range(100):
        if "hung up" in Mirror.asked:
            return
        time.sleep(0.02)
    raise AssertionError("the server was read to its end")


def test_every_mirror_that_was_tried_is_listed(server: str) -> None:
    diagnostic = failure(fetch(server, "gone", "truncated", "another"))
    assert [note.split(":")[2].split("/")[1] for note in diagnostic.notes[1:]] == ["gone", "truncated", "another"]


def test_without_a_network() -> None:
    closed = "http://127.0.0.1:9"  # discard: nobody listens
    assert "it cannot be reached" in failure(fetch(closed, "x")).notes[1]
    assert "no address" in failure(fetch("nonsense://", "x")).notes[1]


def test_an_interrupted_transfer_leaves_nothing(server: str, home: Path) -> None:
    def interrupt(_file: str, done: int, _size: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find("mnist", "test", fetch=fetch(server, "good", watch=interrupt))
    assert kept(home) == []


def test_progress_ends_at_the_size_of_each_file(server: str) -> None:
    seen: list[tuple[str, int, int]] = []
    find("mnist", "test", fetch=fetch(server, "good", watch=lambda *news: seen.append(news)))
    for name, content in FILES.items():
        news = [(done, size) for file, done, size in seen if file == name]
        assert news[-1] == (len(content), len(content))
        assert all(0 < done <= size for done, size in news)


def test_a_damaged_file_in_the_cache_is_told_and_not_replaced(server: str, home: Path) -> None:
    folder = home / "cache" / "bnnc" / "mnist"
    folder.mkdir(parents=True)
    for name, content in FILES.items():
        (folder / name).write_bytes(content[:-9])
    with pytest.raises(BnncError, match="B0504"):
        find("mnist", "test", fetch=fetch(server, "good")).load()
    assert Mirror.asked == []


def test_files_in_the_data_dir_come_first_and_half_a_set_is_none(server: str, home: Path) -> None:
    name, content = next(iter(FILES.items()))
    (home / "mine").mkdir()
    (home / "mine" / name).write_bytes(content)
    find("mnist", "test", home / "mine", fetch=fetch(server, "good"))
    assert kept(home) == sorted(FILES)  # the labels were missing, so both were fetched
    (home / "mine" / "t10k-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, 400) + bytes(400))
    assert not find("mnist", "test", home / "mine", fetch=fetch(server, "good")).load()[1].any()


def test_nothing_is_fetched_for_a_data_dir_that_is_no_folder(server: str, home: Path) -> None:
    diagnostic = failure(fetch(server, "good"), home / "mistyped")
    assert "is no folder" in diagnostic.notes[1]
    assert Mirror.asked == []


def test_a_cache_that_cannot_be_written(server: str, home: Path) -> None:
    (home / "cache").write_text("a file, where a folder should be")
    assert "cannot be written" in failure(fetch(server, "good")).notes[1]


def test_mirrors_from_the_environment(server: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BNNC_MIRRORS", f"{server}/gone {server}/good/")
    find("mnist", "test", fetch=fetch("http://127.0.0.1:9", "x"))
    assert Mirror.asked[:2] == [f"/{kind}/mnist/t10k-images-idx3-ubyte.gz" for kind in ("gone", "good")]
    assert kept(home) == sorted(FILES)


def test_fetching_turned_off(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BNNC_MIRRORS", "off")
    assert "BNNC_MIRRORS" in failure(fetch(server, "good")).notes[1]
    assert Mirror.asked == []


def test_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert cache_folder({}, "linux") == tmp_path / ".cache" / "bnnc"
    assert cache_folder({}, "darwin") == tmp_path / "Library" / "Caches" / "bnnc"
    assert cache_folder({"XDG_CACHE_HOME": "/x"}, "darwin") == Path("/x/bnnc")
    assert cache_folder({"LOCALAPPDATA": "/l"}, "win32") == Path("/l/bnnc/cache")


def test_the_command_line_says_what_was_tried(server: str) -> None:
    done = bnnc("run", MODEL, "--data", "mnist", "--json", BNNC_MIRRORS=f"{server}/gone")
    assert (done.code, done.codes) == (4, ["B0503"])
    (diagnostic,) = done.json["diagnostics"]
    assert f"{server}/gone/mnist/t10k-images-idx3-ubyte.gz: 404 Not Found" in diagnostic["notes"]
    assert "Traceback" not in done.err


@needs_shared
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_published_checksums_are_those_of_the_genuine_files(name: str) -> None:
    for file in (file for files in MIRRORS[name].files.values() for file in files):
        content = (SHARED / "data" / name / file.name).read_bytes()
        assert (f"sha256:{hashlib.sha256(content).hexdigest()}", len(content)) == (file.checksum, file.size)


def test_every_file_is_published_at_two_places_at_least() -> None:
    for name, mirrors in MIRRORS.items():
        assert len(mirrors.addresses) >= 2, name
        assert all(address.startswith("http") and not address.endswith("/") for address in mirrors.addresses)
        assert set(mirrors.files) == {"train", "test"}


def test_the_command_line_shows_what_it_fetches(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = fetch(server, "good").mirrors["mnist"].files
    monkeypatch.setitem(MIRRORS, "mnist", Mirrors((f"{server}/good",), files))
    monkeypatch.setenv("CI", "")
    command = ("run", MODEL, "--data", "mnist")
    plain = bnnc(*command, "--color", "never")
    assert plain.code == 0
    assert "fetching t10k-images-idx3-ubyte.gz (0.3 MB)" in plain.err
    assert "of 400, mnist test)" in plain.out
    assert "fetching" not in bnnc(*command).err
    for where, shown in (("bars", ("--color", "always")), ("quiet", ("-q",))):
        monkeypatch.setenv("XDG_CACHE_HOME", str(Path.cwd() / where))
        done = bnnc(*command, *shown)
        assert done.code == 0
        assert ("━" in done.err) == (where == "bars")
        assert ("fetching" in done.err) == (where == "bars")


def test_made_up_data_that_does_not_fit_the_network() -> None:
    done = bnnc("run", MODEL, "--data", "prototypes:bits=784", "--json")
    assert (done.code, done.codes) == (1, ["B0502"])
    assert "bit[784]" in done.json["diagnostics"][0]["message"]
