"""Names in C: what a local may be called without meeting a keyword, a macro, a type or a name of the file."""

from __future__ import annotations

from collections.abc import Iterable

from bnnc.loops.lower.names import identifier

# Keywords of C and C++ (a header is read by both), and what <stdint.h>, <string.h>, <math.h> and compilers define.
_WORDS = """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl concept const consteval
    constexpr constinit const_cast continue decltype default delete do double dynamic_cast else enum explicit export
    extern false float for friend goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or
    or_eq private protected public register reinterpret_cast requires restrict return short signed sizeof static
    static_assert static_cast struct switch template this thread_local throw true try typedef typeid typename typeof
    union unsigned using virtual void volatile wchar_t while xor xor_eq
    int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t size_t memcpy memset main NULL EOF INFINITY NAN
    linux unix arm avr i386 mips riscv near far interrupt abs exp log pow sin cos tan floor ceil sqrt index y0 y1 yn j0
    j1 jn gamma round trunc
"""
RESERVED = frozenset(_WORDS.split())
# NAME.h must not be what `#include <NAME.h>` finds: builds put its folder before the library's.
_HEADERS = """
    algorithm arduino assert complex ctype errno fenv float inttypes iso646 limits locale math memory new setjmp signal
    stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string strings tgmath threads time uchar
    unistd wchar wctype arm_acle arm_mve pgmspace
"""
HEADERS = frozenset(_HEADERS.split())


def prefix_of(name: str) -> str:
    """The prefix of everything that a network defines: an identifier of at most 48 characters that no header has."""
    made = identifier(name)[:48]
    return f"{made}_net" if {made, made.lower()} & (RESERVED | HEADERS) else made


class Locals:
    """The names of one function's parameters and variables."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken) | RESERVED

    def fresh(self, name: str) -> str:
        """The name itself, or the name and underscores."""
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name


def comment_text(text: str) -> str:
    """One line of ASCII that no reader of C takes for the end of a comment, a trigraph or a line to be joined."""
    plain = " ".join(text.split()).encode("ascii", "backslashreplace").decode()
    return plain.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?")[:200].rstrip("\\")


__all__ = ["RESERVED", "Locals", "comment_text", "prefix_of"]
