"""Other ways to hand over the same code: weights in a file of their own, or everything in one header."""

from __future__ import annotations

import re
from collections.abc import Mapping

_TABLE = re.compile(r"(^/\* [^\n]* \*/\n)?^static (const [^=;(){}]*\[\d+\]) = \{\n.*?^\};\n\n?", re.S | re.M)
_ROM = re.compile(r"^/\* Where tables go.*?^#endif\n", re.S | re.M)


def split(files: Mapping[str, bytes], prefix: str) -> dict[str, bytes]:
    """The files, with the tables of NAME.c in NAME_weights.c, which NAME_weights.h declares."""
    source = files[f"{prefix}.c"].decode()
    title = source.splitlines()[0]
    rom = _ROM.search(source)
    found = list(_TABLE.finditer(source))
    weights = [title, f'#include "{prefix}_weights.h"', ""]
    header = [title, f"#ifndef {prefix.upper()}_WEIGHTS_H", f"#define {prefix.upper()}_WEIGHTS_H", ""]
    header += ["#include <math.h>" if "INFINITY" in source or "NAN" in source else "", "#include <stdint.h>", ""]
    header += [rom[0] if rom else ""]
    for table in found:
        weights.append(table[0].replace("static const", "const", 1).rstrip() + "\n")
        header.append(f"{table[1] or ''}extern {table[2]};")
    header += ["", f"#endif /* {prefix.upper()}_WEIGHTS_H */", ""]
    rest = _TABLE.sub("", source)
    if rom:
        rest = rest.replace(rom[0], "", 1)
    include = f'#include "{prefix}.h"\n'
    rest = rest.replace(include, f'{include}#include "{prefix}_weights.h"\n', 1)
    return {
        **files,
        f"{prefix}.c": rest.encode(),
        f"{prefix}_weights.h": "\n".join(header).encode(),
        f"{prefix}_weights.c": "\n".join(weights).encode(),
    }


def single_header(files: Mapping[str, bytes], prefix: str) -> dict[str, bytes]:
    """The files, with NAME.c in NAME.h: one source of a program defines NAME_IMPLEMENTATION before it includes it."""
    upper = prefix.upper()
    include = f'#include "{prefix}.h"\n'
    header, source = files[f"{prefix}.h"].decode(), files[f"{prefix}.c"].decode()
    about = (
        f"\n/* The code itself: define {upper}_IMPLEMENTATION in one source before it includes this file. */\n"
        f"#if defined({upper}_IMPLEMENTATION) && !defined({upper}_IMPLEMENTED)\n#define {upper}_IMPLEMENTED\n"
    )
    body = source.split("\n", 1)[1].replace(include, "", 1)
    made = {name: text for name, text in files.items() if name != f"{prefix}.c"}
    made[f"{prefix}.h"] = f"{header}{about}{body}\n#endif /* {upper}_IMPLEMENTATION */\n".encode()
    selftest = f"{prefix}_selftest.c"
    if selftest in made:
        made[selftest] = made[selftest].replace(
            include.encode(), f"#define {upper}_IMPLEMENTATION\n{include}".encode(), 1
        )
    return made


__all__ = ["single_header", "split"]
