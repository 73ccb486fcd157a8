"""What all headers look like: read once, by C and by C++."""

from __future__ import annotations

from collections.abc import Sequence


def header(title: str, prefix: str, lines: Sequence[str]) -> str:
    """PREFIX.h, with these lines between its guards."""
    guard = f"{prefix.upper()}_H"
    begin = [title, f"#ifndef {guard}", f"#define {guard}", "", "#include <stdint.h>", ""]
    begin += ["#ifdef __cplusplus", 'extern "C" {', "#endif", ""]
    end = ["", "#ifdef __cplusplus", "}", "#endif", "", f"#endif /* {guard} */", ""]
    return "\n".join([*begin, *lines, *end])


__all__ = ["header"]
