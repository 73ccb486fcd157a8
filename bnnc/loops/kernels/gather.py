"""Moves elements between layouts."""

from __future__ import annotations

from bnnc.loops.kernels.copies import copy_in, copy_out, user_element
from bnnc.loops.kernels.halo import fill_halo

__all__ = ["copy_in", "copy_out", "fill_halo", "user_element"]
