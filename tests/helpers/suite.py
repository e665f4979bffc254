"""What is counted of a run of the tests: skipped tests, against a budget, and the time of each, for `make slowest`. A
test that hangs fails, so that a run always ends."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

# What a run may skip: a reason (a regular expression), and how many tests may give it.
SKIPS = {
    r"needs LibreOffice": 1,
    r"could not import '(spacy|datatrove[\w.]*)'": 3,  # peers and choices that no extra brings
    r"nobody may read neither Python nor the project here": 1,
    r"these tests run as an ordinary user anyway": 1,
    r"no Landlock, or not the numbers used here": 42,
    r"TEXTMILL_KERAS names no Python with [Kk]eras": 8,  # Keras wants a Python of its own
    r"TEXTMILL_WEIGHTS names no folder": 20,  # published weights are not part of the repository
    r"llama.cpp is not here": 60,  # slow tests, of another program
    r"is not here|no data here": 35,  # texts in ../shared/data, which need not be there
    r"a network namespace cannot be made here|only root can mount|mounting is not allowed here": 3,
    r"has a GPU": 1,
    r"no bfloat16 products": 8,  # processors of before AVX-512
}
DURATIONS = "textmill/durations"
LONGEST = 600  # seconds that a test may take with its fixtures; slow ones take what they take


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--any-skips", action="store_true", help="this machine lacks extras: skipping is not counted"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow") is None:
            item.add_marker(pytest.mark.timeout(LONGEST))


def reasons(reports: list[pytest.TestReport]) -> Counter[str]:
    """Why tests were skipped, and how many for each reason."""
    return Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in reports)


def beyond_budget(skipped: Counter[str]) -> list[str]:
    """What is said of reasons that are unknown or were given too often."""
    found: Counter[str] = Counter()
    complaints = []
    for reason, count in skipped.items():
        known = next((pattern for pattern in SKIPS if re.search(pattern, reason)), None)
        if known is None:
            complaints.append(f"{count} skipped for a reason that is in no budget: {reason}")
        else:
            found[known] += count
    return complaints + [
        f"{count} skipped, {SKIPS[pattern]} at most may be: {pattern}"
        for pattern, count in found.items()
        if count > SKIPS[pattern]
    ]


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In the process that gathers what the others did: keep the durations, fail where too much was skipped."""
    config = session.config
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if hasattr(config, "workerinput") or reporter is None or config.option.collectonly:
        return
    seconds: Counter[str] = Counter()
    for report in (report for reports in reporter.stats.values() for report in reports):
        if hasattr(report, "duration"):
            seconds[report.nodeid] += report.duration
    if getattr(config, "cache", None) is not None:  # there is none with -p no:cacheprovider
        config.cache.set(DURATIONS, dict(seconds))
    complaints = beyond_budget(reasons(reporter.stats.get("skipped", [])))
    if complaints and not config.option.any_skips:
        config.stash[_COMPLAINTS] = complaints
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


_COMPLAINTS = pytest.StashKey[list[str]]()


_LONG = 1000  # tests of a run whose times are told at its end


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    config = terminalreporter.config
    seconds = config.cache.get(DURATIONS, {}) if getattr(config, "cache", None) else {}
    if len(seconds) >= _LONG and not config.option.collectonly:
        terminalreporter.write_line("\n".join(times(seconds)))
    for complaint in config.stash.get(_COMPLAINTS, []):
        terminalreporter.write_line(f"skips: {complaint} (tests/helpers/suite.py)", red=True)


def times(seconds: Mapping[str, float]) -> list[str]:
    """The slowest tests and the seconds of each room, in lines."""
    rooms: Counter[str] = Counter()
    for test, taken in seconds.items():
        rooms[test.split("::")[0].removeprefix("tests/").split("/")[0]] += taken
    lines = []
    for title, table, rows in (("slowest tests", Counter(seconds), 20), ("rooms", rooms, len(rooms))):
        lines.append(f"{title} ({sum(table.values()):,.0f} s in all)")
        lines += [f"{taken:8.1f} s  {name}" for name, taken in table.most_common(rows)]
    return lines


def main() -> None:
    """The times of the last run."""
    print("\n".join(times(json.loads(Path(".pytest_cache/v", DURATIONS).read_text()))))


if __name__ == "__main__":
    main()
