"""Where the shared test fixtures (real models and data sets) lie, and the mark for tests that need them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("BNNC_SHARED") or ROOT.parent / "shared")
REASON = "needs the shared fixtures (BNNC_SHARED, else ../shared)"

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=REASON)
