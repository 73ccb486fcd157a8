"""`bnnc fmt`: one layout, which is its own layout, and changes nothing but blanks; `new`; `show --as bnn`."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnc import api
from bnnc.frontends.dsl import Frontend
from bnnc.frontends.dsl import syntax as s
from bnnc.frontends.dsl.parsing import parse
from bnnc.frontends.dsl.problems import Source
from bnnc.reference.run import run
from tests.cli import MODEL, ROOT, bnnc
from tests.strategies import random_inputs

UGLY = """

# top
net   mnist{ let width=525*2 # trailing
  input x:u8[1,28,28] as pixels( 1/255,mean = 0.5 ) ->flatten->
     threshold( median )
   # own line
     -> fc1 :dense( width ,) -> sign
   # about skip


   skip=x->conv( 3,3x3,pad = [0 ,1, - 1] , weights=int< -3 , 3 >) # why
   output y(storage = int32)=skip -> sumpool(3) -> step(bit,[[3]],[[-1,1]]) -> flatten -> sign -> dense(100) -> sign
   train{rule lbe;groups 75,35 # g
   margin 1/4;
   # last
   }
   weights random(1) }
 # end
"""
LAID_OUT = """# top
net mnist {
    let width = 525 * 2  # trailing
    input x: u8[1, 28, 28] as pixels(1/255, mean=0.5) -> flatten
        -> threshold(median)
        # own line
        -> fc1: dense(width) -> sign
    # about skip

    skip = x -> conv(3, 3x3, pad=[0, 1, -1], weights=int<-3,3>)  # why
    output y(storage=int32) = skip
        -> sumpool(3)
        -> step(bit, [[3]], [[-1, 1]])
        -> flatten
        -> sign
        -> dense(100)
        -> sign
    train {
        rule lbe
        groups 75, 35  # g
        margin 1/4
        # last
    }
    weights random(1)
}
# end
"""


def formatted(text: str) -> str:
    return Frontend().formatted(text.encode(), "net.bnn")


def bare(node: Any) -> Any:
    """A tree without its places."""
    if isinstance(node, tuple):
        return tuple(bare(item) for item in node)
    if dataclasses.is_dataclass(node):
        values = {f.name: bare(getattr(node, f.name)) for f in dataclasses.fields(node) if f.name != "span"}
        return (type(node).__name__, tuple(values.items()))
    return node


def test_the_layout() -> None:
    assert formatted(UGLY) == LAID_OUT


def test_a_layout_is_its_own_layout_and_the_same_net() -> None:
    assert formatted(LAID_OUT) == LAID_OUT
    assert bare(parse(Source(LAID_OUT, ""))) == bare(parse(Source(UGLY, "")))


def test_windows_line_ends_and_marks_go() -> None:
    assert formatted("\ufeffnet a {\r\n\tinput x: bit[3] -> sign\r\n}") == "net a {\n    input x: bit[3] -> sign\n}\n"


TOKENS = [
    "net a {", "}", "input x: bit[3]", "->", "sign", "fc: dense(3)", "y =", "x", "add(x, y)", "# comment\n", "\n",
    "  ", "let n = 1", "train {", "rule lbe", ";", "groups 3, -5", "weights random(1)", "output z = x",
    "conv(3,\n3x3)", "\n\n\n", "concat(x -> sign, # why\n y)", "[1,\n2]", "pad(1, value=-1)", "t\t", '"a b" =',
    "let m = 2 * (3 - 1) / 4",
]  # fmt: skip


@given(st.lists(st.sampled_from(TOKENS), max_size=25))
@settings(max_examples=300, deadline=None)
def test_whatever_parses_is_laid_out_once_and_for_all(parts: list[str]) -> None:
    text = "net a {" + " ".join(parts) + "\n}"
    try:
        tree = parse(Source(text, ""))
    except Exception:
        return
    once = formatted(text)
    assert formatted(once) == once
    assert bare(parse(Source(once, ""))) == bare(tree)
    assert once.count("#") == text.count("#")


def test_the_tree_has_places() -> None:
    tree = parse(Source(UGLY, "net.bnn"))
    (branch,) = [statement for statement in tree.statements if isinstance(statement, s.Branch)]
    assert UGLY[branch.span.start : branch.span.end].startswith("skip=x->conv(")
    assert UGLY[branch.span.start : branch.span.end].endswith("3 >)")


# --------------------------------------------------------------------------------------------------------- the commands
@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_fmt_writes_what_changes_and_no_more() -> None:
    Path("a.bnn").write_text(UGLY, encoding="utf-8")
    Path("b.bnn").write_text(LAID_OUT, encoding="utf-8")
    before = Path("b.bnn").stat().st_mtime_ns
    checked = bnnc("fmt", "--check", "a.bnn", "b.bnn", "--json")
    assert (checked.code, checked.codes) == (1, ["B0215"])
    assert Path("a.bnn").read_text(encoding="utf-8") == UGLY
    done = bnnc("fmt", "a.bnn", "b.bnn", "--json")
    assert (done.code, done.json["changed"]) == (0, ["a.bnn"])
    assert Path("a.bnn").read_text(encoding="utf-8") == LAID_OUT
    assert Path("b.bnn").stat().st_mtime_ns == before
    assert bnnc("fmt", "--check", "a.bnn", "b.bnn").code == 0


def test_fmt_tells_the_errors_of_all_files_and_mends_the_others() -> None:
    Path("a.bnn").write_text("net a {", encoding="utf-8")
    Path("b.bnn").write_text(UGLY, encoding="utf-8")
    Path("c.bnn").write_text("net a { x -> -> y }", encoding="utf-8")
    done = bnnc("fmt", "a.bnn", "b.bnn", "c.bnn", "missing.bnn", "--json")
    assert (done.code, done.codes) == (1, ["B0202", "B0202", "B0407"])
    assert Path("b.bnn").read_text(encoding="utf-8") == LAID_OUT
    assert Path("a.bnn").read_text(encoding="utf-8") == "net a {"


def test_fmt_of_standard_input() -> None:
    done = bnnc("fmt", "-", stdin=UGLY.encode())
    assert (done.code, done.out) == (0, LAID_OUT)


def test_new_makes_a_project_that_works() -> None:
    done = bnnc("new", "first net", "--json")
    assert (done.code, done.json["name"]) == (0, "first_net")
    folder = Path("first net")
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "bnnc.toml", "ci.yml", "net.bnn"]
    assert bnnc("fmt", "--check", folder / "net.bnn").code == 0
    assert api.load_plan(folder / "net.bnn").name == "first_net"
    assert not any("NAME" in p.read_text(encoding="utf-8") for p in folder.iterdir())
    shown = bnnc("show", "--config", folder / "bnnc.toml", "--json")
    assert (shown.code, shown.json["name"]) == (0, "first_net")


def test_new_refuses_what_is_there_and_what_is_no_name() -> None:
    Path("there").mkdir()
    Path("file").write_text("mine", encoding="utf-8")
    for name, code in (("there", "B0106"), ("file", "B0106"), ("1st", "B0101"), ("", "B0101"), ("..", "B0101")):
        done = bnnc("new", name, "--json")
        assert (done.code, done.codes) == (2, [code]), name
    assert list(Path("there").iterdir()) == []
    assert sorted(p.name for p in Path().iterdir()) == ["file", "there"]


def test_show_as_bnn_writes_a_net_with_the_same_bits() -> None:
    done = bnnc("show", MODEL, "--as", "bnn", "-o", "copy.bnn", "--json")
    assert (done.code, done.json["files"]) == (0, ["copy.bnn", "copy.npz"])
    model, copy = api.load(MODEL), api.load("copy.bnn")
    inputs = random_inputs(model, 0, 20)
    assert np.array_equal(run(api.optimise(model), inputs)["scores"], run(copy, inputs)["scores"])
    assert bnnc("fmt", "--check", "copy.bnn").code == 0
    assert bnnc("show", MODEL, "--as", "bnn", "-o", "copy.bnn", "--json").codes == ["B0106"]
    assert bnnc("show", MODEL, "--as", "bnn", "-o", "copy.bnn", "--force").code == 0


def test_show_as_bnn_prints_the_net() -> None:
    done = bnnc("show", MODEL, "--as", "bnn")
    assert done.out.startswith('net model {\n    weights "model.npz"\n')
    assert "conv1: conv(16, 5x5, stride=2)" in done.out
    assert "the weights are not written" in done.err
    assert list(Path().iterdir()) == []
    for wrong in (["--as", "c"], ["--as", "bnn", "--at", "loop"], ["-o", "x.bnn"], ["--as", "bnn", "-o", "x.txt"]):
        assert bnnc("show", MODEL, *wrong, "--json").code == 2


def test_a_net_without_weights_is_shown_but_not_run() -> None:
    net = ROOT / "examples" / "language" / "lbe.bnn"
    shown = bnnc("show", net, "--as", "bnn")
    assert shown.code == 0
    assert "weights" not in shown.out.replace("no weights", "")
    assert "warning[B0209]" in shown.err
    for command in ("compile", "check", "bench"):
        done = bnnc(command, net, "--json")
        assert (done.code, done.codes) == (1, ["B0209"])


def test_messages_point_into_the_text_for_people_scripts_and_pull_requests() -> None:
    Path("net.bnn").write_text("net a {\n    input x: bit[3] -> sing\n}\n", encoding="utf-8")
    people = bnnc("show", "net.bnn")
    assert " --> net.bnn:2:24\n" in people.err
    assert "2 |     input x: bit[3] -> sing\n  |                        ^^^^ no layer of this name\n" in people.err
    (diagnostic,) = bnnc("show", "net.bnn", "--json").json["diagnostics"]
    assert diagnostic["places"] == [{"name": "", "file": "net.bnn", "line": 2, "column": 24}]
    assert "file=net.bnn,line=2,col=24" in bnnc("show", "net.bnn", "--message-format", "github").err


def test_lark_is_loaded_for_nets_alone() -> None:
    script = (
        "import sys, bnnc.api, bnnc.registry\n"
        "bnnc.registry.frontend('dsl'); bnnc.api.load(sys.argv[1])\n"
        "assert 'lark' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script, str(MODEL)], cwd=ROOT, check=True)


def test_the_schema_of_fmt() -> None:
    Path("a.bnn").write_text(LAID_OUT, encoding="utf-8")
    document = json.loads(bnnc("fmt", "a.bnn", "--json").out)
    assert (document["schema"], document["ok"], document["diagnostics"]) == ("bnnc.fmt/1", True, [])
