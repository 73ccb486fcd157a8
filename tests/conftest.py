"""Test options: `--slow`, and in CI (BNNC_CI=1) a count of the tests on shared fixtures and no silent skips."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import settings

from tests.shared import REASON, SHARED

SLOW = "slow: run with --slow"
# Speed lives in benchmarks: no test fails because a machine is busy.
settings.register_profile("bnnc", deadline=None)
settings.load_profile("bnnc")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests marked `slow`")
    parser.addoption("--update-golden", action="store_true", help="write what comes out as what is expected")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--slow"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason=SLOW))


def uses_shared(item: pytest.Item) -> bool:
    return any(mark.kwargs.get("reason") == REASON for mark in item.iter_markers("skipif"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    report: Any = yield
    if uses_shared(item):
        report.user_properties = [*report.user_properties, ("shared", True)]
    return report


def skip_reason(report: pytest.TestReport) -> str:
    return str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr).removeprefix("Skipped: ")


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    stats = terminalreporter.stats
    ran = [r for kind in ("passed", "failed") for r in stats.get(kind, ()) if ("shared", True) in r.user_properties]
    terminalreporter.write_line(f"tests on shared fixtures: {len(ran)} ran")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    # In CI a skip for a missing tool or fixture is a hole in the net: it fails the run. `slow` is a choice, and the
    # fixtures may really be absent.
    if not os.environ.get("BNNC_CI"):
        return
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    allowed = {SLOW} if SHARED.is_dir() else {SLOW, REASON}
    holes = [r for r in reporter.stats.get("skipped", ()) if skip_reason(r) not in allowed]
    if holes:
        reporter.write_line("")
        for report in holes:
            reporter.write_line(f"skipped, and this may not be in CI: {report.nodeid}: {skip_reason(report)}", red=True)
        session.exitstatus = 1
