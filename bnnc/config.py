"""Settings: what a flag, an environment variable or `bnnc.toml` may say, how it is read, and which of them wins.

Every field of `Config` is one setting. Its metadata hold `read` (from what was written to the value), `help`, and
`env` where the variable is not `BNNC_` and the name. The flags of the command line mirror the fields one to one.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from bnnc.diagnostics import BnncError, Exit, Location, error

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Pixels = tuple[float, tuple[float, ...], tuple[float, ...]]

_UNITS = {"": 1, "b": 1, "kib": 1024, "k": 1024, "mib": 1024**2, "m": 1024**2, "gib": 1024**3, "g": 1024**3}


def usage(message: str, *, notes: tuple[str, ...] = (), helps: tuple[str, ...] = ()) -> BnncError:
    """The error for a value that no setting takes."""
    return error("B0101", message, notes=notes, helps=helps, exit_code=Exit.USAGE)


def suggestion(word: str, known: Iterable[str]) -> tuple[str, ...]:
    """A help line with the known name nearest to `word`; nothing when none is near."""
    near = difflib.get_close_matches(word, list(known), 1, 0.6)
    return (f"did you mean `{near[0]}`?",) if near else ()


def read_size(value: Any) -> int:
    """Bytes from `64KiB`, `1MiB`, `65536`. Raises BnncError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", str(value).strip().lower())
    if not match or match[2] not in _UNITS:
        raise usage(f"`{value}` is not a size", helps=("write it as 64KiB, 1MiB or 65536",))
    return int(float(match[1]) * _UNITS[match[2]])


def read_number(text: str) -> float:
    """A number, or a fraction such as 1/255. Raises BnncError."""
    number = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
    match = re.fullmatch(rf"({number})(?:/({number}))?", text.strip())
    if not match or (match[2] and float(match[2]) == 0):
        raise usage(f"`{text}` is not a number", helps=("write it as 0.5 or 1/255",))
    return float(match[1]) / float(match[2] or 1)


def read_pixels(value: Any) -> dict[str, Pixels]:
    """`[x=]SCALE[,MEAN,STD]`, one or several; MEAN and STD may be lists `a:b:c`, one number a channel.

    The name "" stands for the only input. Raises BnncError.
    """
    pixels: dict[str, Pixels] = {}
    for text in _several(value):
        name, _, numbers = text.rpartition("=")
        parts = [tuple(read_number(n) for n in part.split(":")) for part in numbers.split(",")]
        form = "--pixels x=SCALE[,MEAN,STD], such as --pixels 1/255 or x=1/255,0.5:0.4:0.4,0.2"
        if len(parts) not in (1, 3) or len(parts[0]) != 1:
            raise usage(f"`{text}` is not a pixel map", helps=(form,))
        scale, mean, std = parts[0][0], *(parts[1:] or [(0.0,), (1.0,)])
        if len(mean) > 1 and len(std) > 1 and len(mean) != len(std):
            raise usage(f"`{text}` has {len(mean)} means and {len(std)} deviations", helps=(form,))
        if scale == 0 or 0 in std:
            raise usage(f"`{text}` makes every pixel alike: the scale and the deviation must not be 0", helps=(form,))
        pixels[name.strip()] = (scale, mean, std)
    return pixels


def read_shapes(value: Any) -> dict[str, tuple[int, ...]]:
    """`x=1,3,32,32`, one or several (`1x3x32x32` also); the name may be left out. Raises BnncError."""
    shapes: dict[str, tuple[int, ...]] = {}
    for text in _several(value):
        name, _, numbers = text.rpartition("=")
        if not re.fullmatch(r"\d+([,x]\d+)*", numbers):
            raise usage(f"`{text}` is not a shape", helps=("write it as --shape x=1,3,32,32",))
        shape = tuple(int(n) for n in re.split("[,x]", numbers))
        if 0 in shape:
            raise usage(f"`{text}` has an axis of length 0", helps=("the batch (axis 0) may be any number, such as 1",))
        shapes[name.strip()] = shape
    return shapes


def no_pair(text: str) -> BnncError:
    """The error for a `-X` without a value."""
    return usage(f"`-X {text}` is not of the form key=value", helps=("bnnc targets NAME lists the keys",))


class Alone(str):
    """What stands for the value of an option that was given without one: only a switch can be."""


def read_pairs(value: Any) -> dict[str, str]:
    """`key=value`, one or several; `key` alone switches something on. Raises BnncError."""
    pairs: dict[str, str] = {}
    for text in _several(value):
        key, equals, setting = text.partition("=")
        if not key.strip():
            raise no_pair(text)
        pairs[key.strip()] = setting.strip() if equals else Alone("true")
    return pairs


def read_check(value: Any) -> int | None:
    """`auto` (None: as many inputs as fit the time), or how many inputs; 0 or `false` is no check. Raises BnncError."""
    text = str(value).lower()
    if text in ("auto", "true"):
        return None
    if text == "false" or re.fullmatch(r"\d+", text):
        return 0 if text == "false" else int(text)
    raise usage(f"`--check={value}` is not a number of inputs", helps=("--check=auto, --check=100 or --no-check",))


def read_fraction(value: Any) -> float:
    """A number in 0..1, or a percentage. Raises BnncError."""
    text = str(value).strip()
    number = read_number(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 <= number <= 1:
        raise usage(f"`{value}` is not between 0 and 1", helps=("an accuracy is a fraction such as 0.97",))
    return number


def read_share(value: Any) -> Fraction:
    """A part of something, exactly: a fraction such as 0.1, 1/6 or 10%, between 0 and 1. Raises BnncError."""
    text = str(value).strip()
    try:
        share = Fraction(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except (ValueError, ZeroDivisionError):
        share = Fraction(0)
    if not 0 < share < 1:
        raise usage(f"`{value}` is no part of something", helps=("write it as 0.1, 1/6 or 10%",))
    return share


def read_flag(value: Any) -> bool:
    """True or false, also as a word in the environment. Raises BnncError."""
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if str(value).lower() in words:
        return words[str(value).lower()]
    raise usage(f"`{value}` is neither true nor false")


def whole(low: int, high: int) -> Callable[[Any], int]:
    """A reader of whole numbers in low..high."""

    def read(value: Any) -> int:
        if re.fullmatch(r"-?\d+", str(value)) and low <= int(value) <= high:
            return int(value)
        raise usage(f"`{value}` is not a whole number from {low} to {high}")

    return read


def choice(*words: str) -> Callable[[Any], str]:
    """A reader of one of the words."""

    def read(value: Any) -> str:
        if value in words:
            return str(value)
        raise usage(f"`{value}` is none of {', '.join(words)}", helps=suggestion(str(value), words))

    return read


def _several(value: Any) -> list[str]:
    """Options may be repeated; in the environment and in `bnnc.toml` they may also stand in one string."""
    return str(value).split() if isinstance(value, str) else [str(item) for item in value]


def _setting(default: Any, read: Callable[[Any], Any], help: str, env: str = "") -> Any:
    metadata = {"read": read, "help": help, "env": env}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Config:
    """All settings, read and merged. `sources` says for each one that is not the default where it came from."""

    model: str = _setting("", str, "the model to work on")
    target: str = _setting("llvm", str, "what to make: a name of `bnnc targets`")
    output: str = _setting("", str, "file or folder to write to")
    frontend: str = _setting("", str, "how to read the model, when its suffix does not say", "BNNC_FROM")
    optimise: int = _setting(2, whole(0, 3), "how hard to optimise: 0, 1, 2 or 3")
    machine: str = _setting("native", str, "the processor to make code for")
    shape: Mapping[str, tuple[int, ...]] = _setting({}, read_shapes, "the full shape of an input, batch first")
    pixels: Mapping[str, Pixels] = _setting({}, read_pixels, "an input holds uint8 pixels: SCALE[,MEAN,STD]")
    stream: str = _setting("f32", choice("f32", "fixed"), "format of real-valued streams")
    stem: str = _setting("float", choice("float", "int"), "how a float first layer is computed")
    semantics: str = _setting("onnx", choice("onnx", "real"), "whose rounding the folds follow")
    threads: int = _setting(1, whole(1, 1024), "how many threads")
    seed: int = _setting(0, whole(0, 2**63 - 1), "the seed of made-up inputs")
    max_ram: int | None = _setting(None, read_size, "fail when the plan needs more memory than this")
    max_flash: int | None = _setting(None, read_size, "fail when the weights need more memory than this")
    strict_range: bool = _setting(False, read_flag, "make a possible saturation an error")
    check: int | None = _setting(None, read_check, "how many inputs to check: auto, a number or false")
    data: str = _setting("", str, "a data set: mnist, cifar-10, prototypes, folder:PATH … (docs/data.md)", "-")
    data_dir: str = _setting("", str, "the folder that data sets lie in", "BNNC_DATA")
    split: str = _setting("test", choice("test", "train"), "which part of the data set")
    limit: int | None = _setting(None, whole(1, 2**31 - 1), "how many samples of a data set to run")
    epochs: int | None = _setting(
        None, whole(1, 1_000_000), "how many epochs to train, instead of the net's own number"
    )
    validation: Fraction | None = _setting(  # noqa: RUF009
        None, read_share, "the part of the training set that chooses the best epoch"
    )
    fail_under: float | None = _setting(None, read_fraction, "fail when the accuracy is lower")
    extra: Mapping[str, str] = _setting({}, read_pairs, "options of the target, key=value", "-")
    sources: Mapping[str, str] = field(default_factory=dict)

    def given(self, name: str) -> bool:
        """Whether anything but the default says what this setting is."""
        return name in self.sources


_OWN_NAMES = {"frontend": "from", "extra": "X"}  # what the flag and the key of bnnc.toml are called, where not alike


def settings() -> dict[str, dataclasses.Field[Any]]:
    """Every setting by the name that flags and `bnnc.toml` use (`max-ram`)."""
    fields = {f.name: f for f in dataclasses.fields(Config) if "read" in f.metadata}
    return {_OWN_NAMES.get(name, name.replace("_", "-")): f for name, f in fields.items()}


def find(start: Path) -> Path | None:
    """The nearest `bnnc.toml`, or `pyproject.toml` with `[tool.bnnc]`, in `start` or a folder above it."""
    for folder in (start, *start.parents):
        for name in ("bnnc.toml", "pyproject.toml"):
            path = folder / name
            if path.is_file() and (name == "bnnc.toml" or b"[tool.bnnc" in path.read_bytes()):
                return path
    return None


def read_file(path: Path, command: str = "") -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The settings in a file, raw, by field name, and the `[target.NAME]` tables. Raises BnncError.

    What stands under `[train]` counts for the command `train` alone, and there before what stands at the top.
    """
    place = (Location(file=path.name),)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as reason:
        raise error("B0103", f"`{path}` cannot be read: {reason.strerror}", exit_code=Exit.USAGE) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as reason:
        raise error("B0103", f"this is not TOML: {reason}", places=place, exit_code=Exit.USAGE) from None
    if path.name == "pyproject.toml":
        content = content.get("tool", {}).get("bnnc", {})
    known = settings()
    values: dict[str, Any] = {}
    tables: dict[str, dict[str, Any]] = {}
    of_training = _table("train", content.pop("train", {}), place)
    for key, value in [*content.items(), *(of_training.items() if command == "train" else ())]:
        if key == "target" and isinstance(value, dict):
            tables = {name: _table(f"target.{name}", table, place) for name, table in value.items() if name != "name"}
            if "name" in value:
                values["target"] = value["name"]
        elif key in known and key not in ("X", "output"):
            values[known[key].name] = value
            if key in ("model", "data-dir") and isinstance(value, str) and path.parent != Path.cwd():
                values[known[key].name] = str(path.parent / value)  # a path in the file is relative to the file
        else:
            raise error(
                "B0102",
                f"unknown key `{key}`",
                places=place,
                helps=suggestion(key, known) or (f"the keys are {', '.join(sorted(known))}",),
                exit_code=Exit.USAGE,
            )
    return values, tables


_WRITTEN_AS = 'write `target = "{0}"`, and its options under `[target.{0}]`'


def _table(name: str, table: Any, place: tuple[Location, ...]) -> dict[str, Any]:
    if isinstance(table, dict):
        return table
    raise error(
        "B0102",
        f"`{name}` is no table of options",
        places=place,
        helps=(_WRITTEN_AS.format(name.partition(".")[2]) if "." in name else f"write its settings under `[{name}]`",),
        exit_code=Exit.USAGE,
    )


def resolve(
    flags: Mapping[str, Any],
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    start: Path | None = None,
    command: str = "",
) -> Config:
    """Flags over `BNNC_*` over the nearest `bnnc.toml` over defaults. A flag that is None was not given.

    `flags` is keyed by field name. `-X` values are those of `[target.NAME]`, overridden by the flags. Raises BnncError.
    """
    environment = os.environ if environment is None else environment
    path = file or find(start or Path.cwd())
    raw: dict[str, Any] = {}
    tables: dict[str, dict[str, Any]] = {}
    sources: dict[str, str] = {}
    if path is not None:
        raw, tables = read_file(path, command)
        sources = dict.fromkeys(raw, path.name)
    for setting in settings().values():
        variable = setting.metadata["env"] or f"BNNC_{setting.name.upper()}"
        if environment.get(variable):
            raw[setting.name], sources[setting.name] = environment[variable], variable
    for name, value in flags.items():
        if value is not None and value != []:
            raw[name], sources[name] = value, "the command line"
    values = {f.name: _read(f, raw[f.name], sources[f.name]) for f in settings().values() if f.name in raw}
    extra = {key: _as_text(v) for key, v in tables.get(values.get("target", "llvm"), {}).items()}
    extra.update(values.get("extra", {}))
    if extra:
        sources.setdefault("extra", path.name if path else "")
    return Config(**{**values, "extra": extra, "sources": sources})


def _read(setting: dataclasses.Field[Any], value: Any, source: str) -> Any:
    try:
        return setting.metadata["read"](value)
    except BnncError as reason:
        wrong = reason.diagnostics[0]
        name = _OWN_NAMES.get(setting.name, setting.name.replace("_", "-"))
        note = f"`{name}` is set in {source}"
        if source == "the command line":
            note = f"given with {'-X' if name == 'X' else '-O' if name == 'optimise' else '--' + name}"
        changed = dataclasses.replace(wrong, notes=(*wrong.notes, note))
        raise BnncError(changed, exit_code=reason.exit_code) from None


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
