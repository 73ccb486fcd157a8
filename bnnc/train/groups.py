"""How many neurons share one correction: the sizes of the groups for layers of any width, and how they grow."""

from __future__ import annotations

# Sizes that the authors of LBE used for two equal layers (docs/training.md says more).
_LBE = {35: 35, 75: 75, 135: 45, 255: 85, 525: 105, 1035: 115, 2025: 135}
_MOST_GROUPS = ((75, 1), (255, 3), (525, 5))


def default_size(width: int, rule: str) -> int:
    """The size of the groups of a layer for which none is given.

    For LBE the table, else about as many groups as it has near that width; BEP starts with a third of that, and its
    schedule lets the groups grow. A divisor of the width is preferred where one is near.
    """
    size = _LBE.get(width) or _near_divisor(width, -(-width // _groups(width)))
    return size if rule == "lbe" else _near_divisor(width, -(-size // 3))


def _groups(width: int) -> int:
    return next((groups for most, groups in _MOST_GROUPS if width <= most), 9)


def divisors(width: int) -> list[int]:
    """Every divisor, ascending."""
    return [n for n in range(1, width + 1) if width % n == 0]


def _near_divisor(width: int, size: int) -> int:
    """The divisor within a fifth of `size` that is nearest to it, else `size`."""
    near = [n for n in divisors(width) if 5 * abs(n - size) <= size]
    return min(near, key=lambda n: (abs(n - size), n), default=size)


def levels(width: int, size: int) -> tuple[int, ...]:
    """The sizes that a schedule steps through: `size`, then every larger divisor of the width."""
    return (size, *(n for n in divisors(width) if n > size))
