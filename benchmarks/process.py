"""Runs a command, and says what its whole process cost, as JSON: seconds on the wall, CPU seconds, most bytes held.

    python benchmarks/process.py COMMAND …

It is a program of its own, and a small one, because a process counts the memory of the one that started it as its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def bnnc(*arguments: str) -> list[str]:
    """The command line of this clone, as a user types it."""
    return [sys.executable, "-m", "bnnc", *arguments]


def environment() -> dict[str, str]:
    """The environment in which this clone is found before an installed one."""
    places = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(place for place in places if place)}


def main() -> int:
    """Prints one line of JSON; the command's own output goes to the standard error. Its exit code is ours."""
    start = time.perf_counter()
    process = subprocess.Popen(sys.argv[1:], stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    cost = {"seconds": seconds, "cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_bytes": peak}
    sys.stdout.write(json.dumps(cost) + "\n")
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
