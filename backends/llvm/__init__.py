"""The LLVM backend: prints «loop» programs as LLVM IR, runs them in this process, or writes objects for any target."""

from bnnc.backends.llvm.backend import Backend

__all__ = ["Backend"]
