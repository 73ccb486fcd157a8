"""How the command line starts: help, version, usage errors, and nothing heavy loaded before it is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from bnnc import __version__
from tests.cli import ROOT, bnnc

COMMANDS = ("compile", "emit", "run", "check", "show", "bench", "targets", "explain", "fmt", "new")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["compile", "--help"], ["bench", "-h"], []])
def test_nothing_heavy_is_loaded_for_help(arguments: list[str]) -> None:
    script = (
        "import sys\n"
        f"sys.argv = ['bnnc', *{arguments!r}]\n"
        "from bnnc.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        "heavy = loaded & {'numpy', 'onnx', 'llvmlite', 'lark', 'PIL', 'pooch'}\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_loads_nothing_heavy() -> None:
    script = "import bnnc, sys; assert 'numpy' not in sys.modules and 'typer' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_without_arguments_the_help_is_shown() -> None:
    done = bnnc()
    assert done.code == 0
    for command in COMMANDS:
        assert command in done.out


def test_version() -> None:
    assert bnnc("--version").out == f"bnnc {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_short_and_long_help(command: str) -> None:
    assert bnnc(command, "-h").out == bnnc(command, "--help").out
    assert "Usage" in bnnc(command, "-h").out


def test_an_unknown_command_suggests() -> None:
    done = bnnc("complie")
    assert done.code == 2
    assert "compile" in done.err


def test_an_unknown_option_is_a_usage_error_for_people_and_for_scripts() -> None:
    done = bnnc("run", "--inptu", "x", "--json")
    assert done.code == 2
    assert "--input" in done.err
    document = json.loads(done.out)
    assert document["schema"] == "bnnc.run/1"
    assert document["ok"] is False
    assert document["diagnostics"][0]["code"] == "B0101"


def test_a_value_that_is_no_number_is_a_usage_error() -> None:
    done = bnnc("bench", "--batch", "many")
    assert done.code == 2


def test_module_and_script_are_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bnnc", "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"bnnc {__version__}\n"


def completed(typed: str) -> list[str]:
    """What the shell is told for a command line that ends in a word half typed."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "_BNNC_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    script = "import sys; sys.argv = ['bnnc']; from bnnc.cli.app import app; app(prog_name='bnnc')"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.split()


def test_the_shell_completes_names() -> None:
    assert completed("bnnc comp") == ["compile"]
    assert completed("bnnc compile --target l") == ["llvm"]
    assert completed("bnnc run --data ci") == ["cifar-10"]
    assert completed("bnnc show --at tab") == ["tabulate"]
    assert "B0104" in completed("bnnc explain B01")
