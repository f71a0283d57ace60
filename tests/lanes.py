"""How `make test` shares the files of tests out, and what it says of their time at the end: `pytest -p tests.lanes`.

Each lane is a process of pytest-xdist with parts of its own (Temporal, Flink, gateway, API, worker), which the files that
it is given use one after another. A file is never divided. The longest come first, so that all lanes end at about the
same time.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from processes import supervised

ROOT = Path(__file__).resolve().parents[1]
SHOWN = 15
TOGETHER = ("tests/faults/test_scenarios.py", "tests/faults/test_short.py")  # one world, which takes long to build
LONGEST = (
    *TOGETHER,
    "tests/real/test_builds.py",
    "tests/real/test_crashes.py",
    "tests/real/test_high_availability.py",
    "tests/real/test_session_clusters.py",
    "tests/real/test_resources.py",
    "tests/real/test_programs.py",
    "tests/real/test_strangers.py",
    "tests/real/test_sessions.py",
    "tests/real/test_going_back.py",
    "tests/real/test_fence.py",
    "tests/real/test_verdict.py",
    "tests/real/test_previews.py",
    "tests/recovery/test_deletion.py",
    "tests/workflows/test_job.py",
    "tests/workflows/test_recovery_rules.py",
    "tests/real/test_savepoints.py",
    "tests/real/test_unknown.py",
    "tests/real/test_upgrade.py",
    "tests/real/test_debugging.py",
    "tests/real/test_told.py",
    "tests/real/test_looping.py",
    "tests/real/test_restores.py",
    "tests/real/test_recovery.py",
    "tests/real/test_engine_contract.py",
    "tests/real/test_postgres.py",
    "tests/real/test_cli.py",
    "tests/real/test_commands.py",
)
"""By what they took when they were last looked at; the others follow in the order in which they are found. Where one that
the end of a run calls slow is not among them, a lane may be left alone with it: add it."""

if lane := os.environ.get("PYTEST_XDIST_WORKER"):
    # Each has ports of its own, so that none takes one that another has chosen and does not yet listen on.
    first, last = supervised.PORTS
    width = (last - first) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    first += width * int(lane.removeprefix("gw"))
    supervised.PORTS = first, first + width - 1

_seconds: dict[str, float] = defaultdict(float)
_cpu_seconds_of_test: dict[str, float] = {}
_cpu_seconds: dict[str, float] = defaultdict(float)


def file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


class Files(LoadScopeScheduling):  # type: ignore[misc]
    """A lane that is free is given the next file."""

    def _split_scope(self, nodeid: str) -> str:
        file = file_of(nodeid)
        return TOGETHER[0] if file in TOGETHER else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Files:
    return Files(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(file_of(item.nodeid), len(places)))


def cpu_seconds() -> float:
    """Processor time, until now, of this lane and of all that it has started and that lives: a process that was started
    by the lane has its environment. What one that has ended took is counted where its parent waited for it."""
    ticks = 0
    mark = f"PYTEST_XDIST_WORKER={lane}\0".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int(folder.name) == os.getpid() or mark in (folder / "environ").read_bytes():
                ticks += sum(map(int, (folder / "stat").read_text().rpartition(")")[2].split()[11:15]))
        except OSError:
            continue  # it has ended, or is another user's
    return ticks / os.sysconf("SC_CLK_TCK")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    began = cpu_seconds() if lane else 0.0
    item.user_properties.append(("cpu_began", began))
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if lane and report.when == "teardown":
        took = cpu_seconds() - dict(item.user_properties)["cpu_began"]
        report.user_properties.append(("cpu_seconds", max(0.0, took)))
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _seconds[file_of(report.nodeid)] += report.duration
    if took := dict(report.user_properties).get("cpu_seconds"):
        _cpu_seconds[file_of(report.nodeid)] += took
        _cpu_seconds_of_test[report.nodeid] = took


def _by_folder(of_files: dict[str, float]) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for file, seconds in of_files.items():
        sums[str(Path(file).parent)] += seconds
    return sums


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    slowest = sorted(_seconds.items(), key=lambda item: -item[1])[:SHOWN]
    terminalreporter.write_sep("=", f"the slowest {len(slowest)} files, and what they took of a processor")
    for file, seconds in slowest:
        terminalreporter.write_line(f"{seconds:6.0f} s  {_cpu_seconds[file]:6.0f} s  {file}")
    cpu_seconds_of = _by_folder(_cpu_seconds)
    for folder, seconds in sorted(_by_folder(_seconds).items(), key=lambda item: -item[1])[:SHOWN]:
        terminalreporter.write_line(f"{seconds:6.0f} s  {cpu_seconds_of[folder]:6.0f} s  all of {folder}")
    terminalreporter.write_line(f"{sum(_seconds.values()):6.0f} s  {sum(_cpu_seconds.values()):6.0f} s  all files")
    terminalreporter.write_sep("=", "the tests that took most of a processor")
    for test, seconds in sorted(_cpu_seconds_of_test.items(), key=lambda item: -item[1])[:SHOWN]:
        terminalreporter.write_line(f"{seconds:6.0f} s  {test}")


def pytest_sessionstart() -> None:
    """A file that was renamed would silently be the last."""
    if missing := [name for name in LONGEST if not (ROOT / name).is_file()]:
        raise pytest.UsageError(f"tests/lanes.py names files that are not there: {', '.join(missing)}")
