"""The few functions that C has no operator for; a file gets those that it uses, in this order."""

from __future__ import annotations

POPCOUNT_CALL = """static inline uint32_t bnnc_popcount(uint32_t x) {
#if defined(__GNUC__)
    return (uint32_t)__builtin_popcountl((unsigned long)x);
#else
    x = x - ((x >> 1) & UINT32_C(0x55555555));
    x = (x & UINT32_C(0x33333333)) + ((x >> 2) & UINT32_C(0x33333333));
    return (((x + (x >> 4)) & UINT32_C(0x0f0f0f0f)) * UINT32_C(0x01010101)) >> 24;
#endif
}
"""

POPCOUNT_SUMS = """static inline uint32_t bnnc_popcount(uint32_t x) {
    x = x - ((x >> 1) & UINT32_C(0x55555555));
    x = (x & UINT32_C(0x33333333)) + ((x >> 2) & UINT32_C(0x33333333));
    return (((x + (x >> 4)) & UINT32_C(0x0f0f0f0f)) * UINT32_C(0x01010101)) >> 24;
}
"""

POPCOUNT_TABLE = """static inline uint32_t bnnc_popcount(uint32_t x) {
    static const uint8_t BNNC_ROM ones[16] = {0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4};
    uint8_t sum = 0;
    while (x != 0u) {
        sum = (uint8_t)(sum + BNNC_READ8(ones[x & 15u]));
        x >>= 4;
    }
    return sum;
}
"""

TRAILING_ZEROS_CALL = """/* How many 0 bits are below the lowest 1; 32 for 0. */
static inline uint32_t bnnc_trailing_zeros(uint32_t x) {
#if defined(__GNUC__)
    return x == 0u ? 32u : (uint32_t)__builtin_ctzl((unsigned long)x);
#else
    return bnnc_popcount(~x & (x - 1u));
#endif
}
"""

# name -> (other primitives that it calls, text)
PRIMITIVES: dict[str, tuple[tuple[str, ...], str]] = {
    "bnnc_popcount": ((), POPCOUNT_CALL),
    "bnnc_popcount64": (
        ("bnnc_popcount",),
        "static inline uint64_t bnnc_popcount64(uint64_t x) {\n"
        "    return bnnc_popcount((uint32_t)x) + bnnc_popcount((uint32_t)(x >> 32));\n}\n",
    ),
    "bnnc_trailing_zeros": (
        (),
        """/* How many 0 bits are below the lowest 1; 32 for 0. */
static inline uint32_t bnnc_trailing_zeros(uint32_t x) {
    uint32_t count = 0;
    if (x == 0u) {
        return 32u;
    }
    if ((x & 0xffffu) == 0u) {
        count += 16u;
        x >>= 16;
    }
    if ((x & 0xffu) == 0u) {
        count += 8u;
        x >>= 8;
    }
    if ((x & 15u) == 0u) {
        count += 4u;
        x >>= 4;
    }
    if ((x & 3u) == 0u) {
        count += 2u;
        x >>= 2;
    }
    return count + (~x & 1u);
}
""",
    ),
    "bnnc_trailing_zeros64": (
        ("bnnc_trailing_zeros",),
        "static inline uint64_t bnnc_trailing_zeros64(uint64_t x) {\n    return (uint32_t)x != 0u ? "
        "bnnc_trailing_zeros((uint32_t)x) : 32u + bnnc_trailing_zeros((uint32_t)(x >> 32));\n}\n",
    ),
    "bnnc_shift_right": (
        (),
        """/* x >> n of a signed number, whose sign fills up. */
static inline uint32_t bnnc_shift_right(uint32_t x, uint32_t n) {
    return (x >> 31) != 0u ? ~(~x >> n) : x >> n;
}
""",
    ),
    "bnnc_shift_right64": (
        (),
        "static inline uint64_t bnnc_shift_right64(uint64_t x, uint64_t n) {\n"
        "    return (x >> 63) != 0u ? ~(~x >> n) : x >> n;\n}\n",
    ),
    "bnnc_place": (
        (),
        """/* A place from which words count that may lie outside of their array. */
static inline const uint32_t *bnnc_place(const uint32_t *words, INDEX index) {
    return (const uint32_t *)((uintptr_t)words + (uintptr_t)index * sizeof *words);
}
""",
    ),
    "bnnc_word_at": (
        (),
        """/* The word that lies so many bytes from the first. */
static inline uint32_t bnnc_word_at(const uint32_t *words, uint32_t offset) {
    return *(const uint32_t *)(const void *)((const unsigned char *)words + offset);
}
""",
    ),
    "bnnc_float_bits": (
        (),
        """static inline uint32_t bnnc_float_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
""",
    ),
    "bnnc_float_of": (
        (),
        """static inline float bnnc_float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
""",
    ),
    "bnnc_whole": (
        (),
        """/* x towards zero, at the ends of the range where it is beyond them; 0 for no number. */
static inline uint32_t bnnc_whole(float x) {
    if (!(x > -2147483648.0f)) {
        return x <= -2147483648.0f ? UINT32_C(0x80000000) : 0u;
    }
    return x >= 2147483648.0f ? UINT32_C(0x7fffffff) : (uint32_t)(int32_t)x;
}
""",
    ),
}
for _bits in (8, 16, 32, 64):
    for _name, _type, _sign in (
        ("smin", "int", "<"),
        ("smax", "int", ">"),
        ("umin", "uint", "<"),
        ("umax", "uint", ">"),
    ):
        _word = f"uint{_bits}_t"
        PRIMITIVES[f"bnnc_{_name}{_bits}"] = (
            (),
            f"static inline {_word} bnnc_{_name}{_bits}({_word} a, {_word} b) {{\n"
            f"    return ({_type}{_bits}_t)b {_sign} ({_type}{_bits}_t)a ? b : a;\n}}\n",
        )
for _name, _sign in (("min", "<"), ("max", ">")):
    PRIMITIVES[f"bnnc_{_name}f"] = (
        (),
        f"static inline float bnnc_{_name}f(float a, float b) {{\n    return b {_sign} a ? b : a;\n}}\n",
    )
    PRIMITIVES[f"bnnc_{_name}"] = (
        (),
        f"static inline INDEX bnnc_{_name}(INDEX a, INDEX b) {{\n    return b {_sign} a ? b : a;\n}}\n",
    )


def primitives(used: set[str], index: str, popcount: str, finds_bits: bool = False) -> list[str]:
    """The texts of those that are used, and of what these use."""
    wanted = used & PRIMITIVES.keys()
    for name in list(wanted):
        wanted.update(PRIMITIVES[name][0])
    if finds_bits and "bnnc_trailing_zeros" in wanted:
        wanted.add("bnnc_popcount")
    texts = {**{name: text for name, (_, text) in PRIMITIVES.items()}, "bnnc_popcount": popcount}
    if finds_bits:
        texts["bnnc_trailing_zeros"] = TRAILING_ZEROS_CALL
    return [texts[name].replace("INDEX", index) for name in PRIMITIVES if name in wanted]


__all__ = ["POPCOUNT_CALL", "POPCOUNT_SUMS", "POPCOUNT_TABLE", "PRIMITIVES", "primitives"]
