"""Runs the command line inside a test, and keeps what it wrote apart: data on `out`, messages on `err`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from bnnc.cli.app import app
from tests.shared import ROOT

EXAMPLE = ROOT / "examples" / "mnist"
MODEL = EXAMPLE / "model.onnx"

__all__ = ["EXAMPLE", "MODEL", "ROOT", "Done", "bnnc"]


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on standard output."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)

    @property
    def codes(self) -> list[str]:
        """The codes of the diagnostics in the document."""
        return [diagnostic["code"] for diagnostic in self.json["diagnostics"]]


def bnnc(*arguments: str | Path, stdin: bytes | None = None, **environment: str) -> Done:
    """Run `bnnc ARGUMENTS` in this process; an exception that would have been a traceback fails the test."""
    result = CliRunner().invoke(
        app, [str(argument) for argument in arguments], input=stdin, env={"COLUMNS": "120", **environment}
    )
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)
