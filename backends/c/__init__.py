"""The C backend: prints «loop» programs as C99 that any microcontroller's compiler takes."""

from bnnc.backends.c.backend import Backend

__all__ = ["Backend"]
