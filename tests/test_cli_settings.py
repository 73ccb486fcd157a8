"""Settings: how values are read, which source wins, and what a mistake in `bnnc.toml` is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from bnnc import config
from bnnc.config import read_check, read_fraction, read_number, read_pixels, read_shapes, read_size
from bnnc.diagnostics import BnncError
from tests.cli import EXAMPLE, MODEL, bnnc


@pytest.mark.parametrize(
    ("text", "size"), [("64KiB", 65536), ("1MiB", 1 << 20), ("65536", 65536), ("1.5k", 1536), ("2 GiB", 2 << 30)]
)
def test_sizes(text: str, size: int) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["", "64KB", "-1", "KiB", "1e3"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(BnncError, match="B0101"):
        read_size(text)


@pytest.mark.parametrize(("text", "number"), [("1/255", 1 / 255), ("0.5", 0.5), ("-.5", -0.5), ("1e-3/2", 0.0005)])
def test_numbers_and_fractions(text: str, number: float) -> None:
    assert read_number(text) == number


@pytest.mark.parametrize("text", ["1/0", "nan", "inf", "1/", "/2", "", "0x1", "1_0"])
def test_numbers_that_are_none(text: str) -> None:
    with pytest.raises(BnncError, match="B0101"):
        read_number(text)


def test_pixels() -> None:
    assert read_pixels(["1/255"]) == {"": (1 / 255, (0.0,), (1.0,))}
    assert read_pixels(["x=1/255,0.4914:0.4822:0.4465,0.247:0.2435:0.2616"]) == {
        "x": (1 / 255, (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616))
    }
    assert read_pixels(["a=1", "b=2,0.5,0.25"]) == {"a": (1.0, (0.0,), (1.0,)), "b": (2.0, (0.5,), (0.25,))}
    assert read_pixels("a=1 b=2") == {"a": (1.0, (0.0,), (1.0,)), "b": (2.0, (0.0,), (1.0,))}


@pytest.mark.parametrize("text", ["x=", "1,2", "1,2,3,4", "1:2,0,1", "1,0,0", "0", "1,0:1,1:2:3", "1,a,1"])
def test_pixels_that_are_none(text: str) -> None:
    with pytest.raises(BnncError, match="B0101"):
        read_pixels([text])


def test_shapes() -> None:
    assert read_shapes(["x=1,3,32,32", "1x10"]) == {"x": (1, 3, 32, 32), "": (1, 10)}
    for wrong in ("x=", "x=1,,2", "x=1,-2", "x=1,0,2", "x=a"):
        with pytest.raises(BnncError, match="B0101"):
            read_shapes([wrong])


def test_check_counts() -> None:
    assert (read_check("auto"), read_check("7"), read_check("false"), read_check(False)) == (None, 7, 0, 0)
    with pytest.raises(BnncError):
        read_check("many")


def test_fractions_of_one() -> None:
    assert (read_fraction("0.97"), read_fraction("97%")) == (0.97, 0.97)
    with pytest.raises(BnncError):
        read_fraction("97")


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(tmp_path: Path) -> None:
    (tmp_path / "bnnc.toml").write_text('threads = 2\nseed = 2\nmachine = "znver4"\n')
    chosen = config.resolve(
        {"threads": "4", "output": None},
        environment={"BNNC_THREADS": "3", "BNNC_SEED": "3", "BNNC_DEBUG": "1"},
        start=tmp_path,
    )
    assert (chosen.threads, chosen.seed, chosen.machine, chosen.optimise) == (4, 3, "znver4", 2)
    assert chosen.sources == {"threads": "the command line", "seed": "BNNC_SEED", "machine": "bnnc.toml"}


def test_the_nearest_file_counts(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "bnnc.toml").write_text("seed = 1\n")
    assert config.resolve({}, environment={}, start=inner).seed == 1
    (tmp_path / "a" / "pyproject.toml").write_text("[project]\nname = 'x'\n[tool.bnnc]\nseed = 2\n")
    assert config.resolve({}, environment={}, start=inner).seed == 2
    (inner / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert config.resolve({}, environment={}, start=inner).seed == 2


def test_tables_of_targets_are_their_options(tmp_path: Path) -> None:
    (tmp_path / "bnnc.toml").write_text(
        'target = "c"\n[target.c]\nword = 32\nslow = true\n[target.llvm]\nkind = "ll"\n'
    )
    (tmp_path / "only.toml").write_text('[target.llvm]\nkind = "ll"\n')
    with pytest.raises(BnncError, match="B0103"):
        config.resolve({}, environment={}, start=tmp_path)  # TOML itself: `target` cannot be a word and a table
    (tmp_path / "bnnc.toml").write_text(
        '[target]\nname = "c"\n[target.c]\nword = 32\nslow = true\n[target.llvm]\nkind = 1\n'
    )
    chosen = config.resolve({"extra": ["word=64"]}, environment={}, start=tmp_path)
    assert chosen.target == "c"
    assert chosen.extra == {"word": "64", "slow": "true"}
    assert config.resolve({}, file=tmp_path / "only.toml", environment={}).extra == {"kind": "ll"}


def test_a_model_in_the_file_is_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "bnnc.toml").write_text('model = "net.onnx"\n')
    assert config.resolve({}, environment={}, start=tmp_path / "inner").model == str(tmp_path / "net.onnx")


def test_an_unknown_key_suggests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bnnc.toml").write_text('max-rom = "64KiB"\n')
    done = bnnc("compile", MODEL)
    assert done.code == 2
    assert "error[B0102]: unknown key `max-rom`\n --> bnnc.toml\n" in done.err
    assert "did you mean `max-ram`?" in done.err


def test_a_wrong_value_says_where_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bnnc.toml").write_text('threads = "all"\n')
    assert "`threads` is set in bnnc.toml" in bnnc("compile", MODEL).err
    (tmp_path / "bnnc.toml").unlink()
    assert "`threads` is set in BNNC_THREADS" in bnnc("compile", MODEL, BNNC_THREADS="all").err


@pytest.mark.parametrize("text", ["threads = ", "[tool", "\x00"])
def test_a_file_that_is_not_toml(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bnnc.toml").write_text(text)
    done = bnnc("compile", MODEL, "--json")
    assert done.code == 2
    assert done.codes == ["B0103"]


def test_a_wrong_flag_is_named() -> None:
    assert "given with --threads" in bnnc("compile", MODEL, "--threads", "0").err
    assert "given with --max-ram" in bnnc("compile", MODEL, "--max-ram", "x").err
    assert "given with -O" in bnnc("compile", MODEL, "-O7").err


def test_a_settings_file_that_is_not_there() -> None:
    done = bnnc("compile", MODEL, "--config", "nowhere.toml", "--json")
    assert done.code == 2
    assert done.codes == ["B0103"]


def test_show_config_says_where_values_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bnnc.toml").write_text("seed = 5\n")
    rows = bnnc("targets", "--show-config", "--json", BNNC_THREADS="3").json["settings"]
    found = {row["name"]: (row["value"], row["from"]) for row in rows}
    assert found["seed"] == ("5", "bnnc.toml")
    assert found["threads"] == ("3", "BNNC_THREADS")
    assert found["optimise"] == ("2", "default")


def test_the_model_is_found_in_the_documented_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    none = bnnc("show", "--json")
    assert none.code == 2
    assert none.codes == ["B0104"]
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "last.json").write_text(f'{{"model": "{MODEL}"}}')
    last = bnnc("show")
    assert last.code == 0
    assert f"using {MODEL} (last compiled " in last.err
    (tmp_path / "bnnc.toml").write_text(f'model = "{MODEL}"\n')
    assert "(from bnnc.toml)" in bnnc("show").err
    assert "using" not in bnnc("show", MODEL).err


def test_optimisation_level_may_be_glued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert bnnc("run", MODEL, "--input", EXAMPLE / "one.png", "--on", "reference").code == 0
    for level in ("-O0", "-O3"):
        assert bnnc("compile", MODEL, level, "--dry-run", "--no-check").code == 0
    assert bnnc("compile", MODEL, "-O9").code == 2
