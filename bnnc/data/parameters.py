"""Parameters in the name of a data set (`prototypes:p=0.4,seed=2`): read into a dataclass, and written back."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any, TypeVar

from bnnc.config import suggestion
from bnnc.diagnostics import BnncError, Exit, error

Kind = TypeVar("Kind")


def parameter(default: Any, allowed: tuple[Any, ...], meaning: str) -> Any:
    """A field: its default, (lowest, highest) of a number or all words it can be, and what it means."""
    return dataclasses.field(default=default, metadata={"allowed": allowed, "meaning": meaning})


def read(kind: type[Kind], name: str, text: str) -> Kind:
    """`key=value,…` as a `kind`. Raises BnncError B0517 for what it has not, or cannot be."""
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for item in filter(None, (piece.strip() for piece in text.split(","))):
        key, equals, value = (piece.strip() for piece in item.partition("="))
        if key not in fields:
            helps = suggestion(key, fields) or (f"{name}:{next(iter(fields))}=…",)
            raise _wrong(f"data set `{name}` has no parameter `{key}`", f"it has {', '.join(fields)}", *helps)
        if key in values:
            raise _wrong(f"parameter `{key}` of data set `{name}` is given twice", f"in `{text}`")
        values[key] = _value(name, fields[key], value if equals else "")
    return kind(**values)


def _value(name: str, field: dataclasses.Field[Any], text: str) -> Any:
    allowed = field.metadata["allowed"]
    if isinstance(field.default, str):
        if text in allowed:
            return text
        expected = "one of " + ", ".join(allowed)
    else:
        low, high = allowed
        expected = f"a number from {low} to {high}" if isinstance(field.default, Fraction) else f"{low} to {high}"
        number = _number(text)
        if number is not None and low <= number <= high:
            if isinstance(field.default, Fraction):
                return number
            if number.denominator == 1:
                return int(number)
    raise _wrong(
        f"`{field.name}={text}` is no value of data set `{name}`",
        f"`{field.name}`: {field.metadata['meaning']}, {expected}",
        f"{name}:{field.name}={written(field.default)}",
    )


def _number(text: str) -> Fraction | None:
    """An exact number; exponents are not read, since a short text could stand for a number of any length."""
    plain = text.replace("_", "")
    if len(plain) > 40 or not set(plain) <= set("0123456789./"):
        return None
    try:
        return Fraction(plain)
    except (ValueError, ZeroDivisionError):
        return None


def written(value: Any) -> str:
    """A value as it stands in a name: fractions as decimals where these are exact."""
    if isinstance(value, Fraction):
        decimal = f"{float(value):g}"
        return decimal if Fraction(decimal) == value else str(value)
    return str(value)


def name_of(name: str, values: Any) -> str:
    """The shortest name that gives these values: those that are not the default, in the order of the fields."""
    given = [
        f"{field.name}={written(getattr(values, field.name))}"
        for field in dataclasses.fields(values)
        if getattr(values, field.name) != field.default
    ]
    return f"{name}:{','.join(given)}" if given else name


def _wrong(message: str, note: str, *helps: str) -> BnncError:
    return error("B0517", message, notes=(note,), helps=helps, exit_code=Exit.USAGE)
