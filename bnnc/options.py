"""The options of a target, from what a user wrote behind `-X`: names that the target has, values of their types."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

from bnnc.config import Alone, no_pair, suggestion, usage
from bnnc.diagnostics import Exit, error
from bnnc.protocols import Backend


def backend_options(backend: Backend, extra: Mapping[str, Any], **shared: Any) -> Any:
    """The backend's own options: `extra` by name (an unknown name is an error), `shared` as far as it has such fields.

    Raises BnncError B0105.
    """
    fields = {f.name: f for f in dataclasses.fields(backend.Options)}
    hints = typing.get_type_hints(backend.Options)
    values = {name: value for name, value in shared.items() if name in fields and value is not None}
    for key, value in extra.items():
        name = key.replace("-", "_")
        if name not in fields:
            known = [field.replace("_", "-") for field in fields]
            raise error(
                "B0105",
                f"target `{backend.name}` has no option `{key}`",
                notes=(f"its options: {', '.join(known) or 'none'}",),
                helps=suggestion(key, known) or (f"bnnc targets {backend.name}",),
                exit_code=Exit.USAGE,
            )
        values[name] = _converted(value, hints[name], key)
    return backend.Options(**values)


def _converted(value: Any, hint: Any, key: str) -> Any:
    """A `-X` value in the type of the option."""
    kinds = [k for k in typing.get_args(hint) if k is not type(None)] if _is_union(hint) else [hint]
    if isinstance(value, Alone) and kinds[0] is not bool:
        raise no_pair(key)
    if typing.get_origin(kinds[0]) is typing.Literal:
        words = [str(word) for word in typing.get_args(kinds[0])]
        if str(value) not in words:
            known = ", ".join(filter(None, words))
            raise usage(f"`-X {key}={value}` is none of {known}", helps=suggestion(str(value), words))
        return next(word for word in typing.get_args(kinds[0]) if str(word) == str(value))
    if isinstance(value, str) and kinds[0] is not str:
        words_for = {"true": True, "yes": True, "on": True, "1": True}
        words_for |= {"false": False, "no": False, "off": False, "0": False}
        try:
            if kinds[0] is bool:
                return words_for[value.lower()]
            return kinds[0](value)
        except (KeyError, ValueError, TypeError):
            name = {int: "a whole number", float: "a number", bool: "true or false"}.get(kinds[0], str(kinds[0]))
            raise usage(f"`-X {key}={value}` is not {name}") from None
    return value


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


__all__ = ["backend_options"]
