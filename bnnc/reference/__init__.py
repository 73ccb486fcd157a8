"""The reference interpreter: plain numpy, slow, obviously right. It is the meaning of every op."""

from bnnc.reference import run

__all__ = ["run"]
