"""Sums to which neighbouring words are added, `a += words[i]; b += words[i + 1]; …`: Arm processors load several words
at once, but compilers hardly ever find registers in the order that this asks for."""

from __future__ import annotations

from bnnc.loops.ir import I32, Assign, Binary, Buffer, Constant, Expression, Load, Statement, Variable

TOGETHER = 4

ADD_WORDS = """/* Adds the next four words to four sums: loaded together, where a processor can. */
#if defined(__GNUC__) && defined(__OPTIMIZE__) && defined(__thumb2__) && !defined(__ARM_FEATURE_MVE)
#define BNNC_ADD_WORDS(next, a, b, c, d) \\
    __asm__("ldmia %0!, {r3, r4, r5, r6}\\n\\tadd %1, r3\\n\\tadd %2, r4\\n\\tadd %3, r5\\n\\tadd %4, r6" \\
            : "+r"(next), "+r"(a), "+r"(b), "+r"(c), "+r"(d) \\
            : "m"((next)[0]), "m"((next)[1]), "m"((next)[2]), "m"((next)[3]) \\
            : "r3", "r4", "r5", "r6", "cc")
#elif defined(__GNUC__) && !defined(__clang__) && defined(__OPTIMIZE__) && !defined(__OPTIMIZE_SIZE__) && \\
    defined(__ARM_ARCH_6M__)
#define BNNC_ADD_PAIR(next, a, b) \\
    __asm__("ldmia %0!, {r3, r4}\\n\\tadd %1, r3\\n\\tadd %2, r4" \\
            : "+l"(next), "+r"(a), "+r"(b) \\
            : "m"((next)[0]), "m"((next)[1]) \\
            : "r3", "r4", "cc")
#define BNNC_ADD_WORDS(next, a, b, c, d) \\
    do { \\
        BNNC_ADD_PAIR(next, a, b); \\
        BNNC_ADD_PAIR(next, c, d); \\
    } while (0)
#else
#define BNNC_ADD_WORDS(next, a, b, c, d) \\
    ((a) += (next)[0], (b) += (next)[1], (c) += (next)[2], (d) += (next)[3], (next) += 4)
#endif
"""


def sums_at(body: tuple[Statement, ...], number: int) -> tuple[Buffer, Variable, list[Variable]] | None:
    """The words that statements from this one on add, and to which sums: a multiple of TOGETHER; or None."""
    found: list[Variable] = []
    where: tuple[Buffer, Variable] | None = None
    for statement in body[number:]:
        match statement:
            case Assign(total, Binary("add", Variable() as left, Load(buffer, index, _, _))) if (
                total is left and total.of == I32 and buffer.element == I32 and total not in found
            ):
                place = _place(index, len(found))
                if place is None or (where is not None and where != (buffer, place)):
                    break
                where = (buffer, place)
                found.append(total)
            case _:
                break
    whole = len(found) // TOGETHER * TOGETHER
    return None if where is None or not whole else (*where, found[:whole])


def _place(index: Expression, distance: int) -> Variable | None:
    """The variable v of an index v + distance."""
    match index:
        case Variable() if not distance and not index.mutable:
            return index
        case Binary("add", Variable() as variable, Constant(value, _)) if int(value) == distance and distance:
            return None if variable.mutable else variable
    return None


__all__ = ["ADD_WORDS", "TOGETHER", "sums_at"]
