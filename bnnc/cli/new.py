"""`bnnc new`: a folder to start from. Its files are package data in bnnc/starter/."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bnnc.cli import options as o
from bnnc.cli.exits import command

Name = Annotated[str, typer.Argument(help="The folder to make; its name becomes the net's.", show_default=False)]
FILES = ("net.bnn", "bnnc.toml", "ci.yml", "README.md")


def new(
    name: Name,
    json: o.Json = False,
    quiet: o.Quiet = False,
    color: o.Color = "auto",
    message_format: o.MessageFormat = "human",
) -> None:
    """Start a project.

    A folder with a net that trains in a second, its settings, and a snippet for continuous integration.
    """
    flags = dict(locals())
    with command("new", flags) as console:
        import re
        from importlib.resources import files

        from bnnc.config import usage
        from bnnc.diagnostics import Exit, error

        folder = Path(name)
        net = re.sub(r"\W", "_", folder.name, flags=re.ASCII)
        if not re.fullmatch(r"[A-Za-z]\w*", net):
            raise usage(f"`{name}` cannot name a net", helps=("use letters, digits and `_`: bnnc new mynet",))
        if folder.exists() or folder.is_symlink():
            raise error("B0106", f"`{folder}` exists already", helps=("choose another name",), exit_code=Exit.USAGE)
        source = files("bnnc") / "starter"
        content = {each: (source / each).read_bytes().replace(b"NAME", net.encode()) for each in FILES}
        _write(folder, content)
        for each in FILES:
            console.say(f"  wrote {folder / each}")
        console.say(f"\nnext: cd {folder} && bnnc train net.bnn")
        console.finish(name=net, files=[str(folder / each) for each in FILES])


def _write(folder: Path, content: dict[str, bytes]) -> None:
    """All files or none: beside the place first. Raises OSError."""
    import os
    import shutil
    import tempfile

    parent = folder.parent
    parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=parent))
    try:
        for name, data in content.items():
            (staging / name).write_bytes(data)
        staging.chmod(0o777 & ~_mask())
        os.rename(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _mask() -> int:
    import os

    current = os.umask(0)
    os.umask(current)
    return current
