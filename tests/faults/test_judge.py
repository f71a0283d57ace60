"""The judge finds what it is there to find: each rule with a series that breaks it, and with one that does not."""

from __future__ import annotations

import pytest

from tests.faults.judge import Line, Point, Start, Verdicts, check_series, read_prints

A, B = "a" * 32, "b" * 32


def series(*parts: tuple[str | None, float, int, int]) -> list[Line]:
    """Parts of (writer, first moment, first count, how many), ten counts a second."""
    return [Line(at + n / 10, first + n, writer) for writer, at, first, many in parts for n in range(many)]


def judged(lines: list[Line], points: list[Point] = [], starts: list[Start] = []) -> list[str]:  # noqa: B006
    verdicts = Verdicts()
    check_series("job", lines, points, starts, verdicts)
    return verdicts.broken


POINTS = [Point("chk-1", 100.95, 101.0, False), Point("sp-1", 101.95, 102.0, True)]
STARTS = [Start(A, 99.9), Start(B, 103.0)]


def test_one_writer_that_goes_on_is_fine():
    assert judged(series((A, 100, 1, 50)), POINTS, STARTS) == []


def test_a_restart_from_the_newest_point_is_fine():
    assert judged(series((A, 100, 1, 25), (B, 104, 21, 30)), POINTS, STARTS) == []


@pytest.mark.parametrize("writer", [True, False])
def test_a_restart_from_the_point_before_is_found(writer):
    lines = series((A if writer else None, 100, 1, 25), (B if writer else None, 104, 11, 30))
    assert "restored from the newest point" in judged(lines, POINTS, STARTS)[0]


def test_flinks_own_restart_takes_its_newest_checkpoint():
    assert judged(series((A, 100, 1, 25), (A, 104, 11, 30)), POINTS, STARTS) == []
    assert judged(series((A, 100, 1, 25), (A, 104, 5, 30)), POINTS, STARTS) != []


def test_output_that_was_lost_is_found():
    assert "no output lost" in judged(series((A, 100, 1, 25), (B, 104, 40, 30)), POINTS, STARTS)[0]


def test_counts_that_were_rolled_back_bind_nobody():
    """The tasks of a lost JobManager write on for a while; what they wrote is behind the next attempt's state."""
    lines = series((A, 100, 1, 60), (B, 107, 11, 40))
    points = [Point("chk-1", 100.95, 101.0, False), Point("chk-2", 109, 109.1, False)]
    third = series(("c" * 32, 112, lines[-1].n - 5, 10))
    assert judged([*lines, *third], points, [Start(A, 99), Start(B, 106.5), Start("c" * 32, 111.5)]) == []


def test_a_point_taken_before_its_attempt_wrote_anything_stands_where_that_was_restored():
    """Flink 2.3 takes a checkpoint right after a restore; what the attempt before had written last is gone."""
    points = [Point("chk-1", 100.95, 101.0, False, A), Point("chk-2", 103.9, 104.05, False, B)]
    c = "c" * 32
    starts = [Start(A, 99.9), Start(B, 103.8), Start(c, 110)]
    lines = series((A, 100, 1, 25), (B, 104, 11, 5), (c, 111, 11, 20))
    assert judged(lines, points, starts) == []
    assert judged(series((A, 100, 1, 25), (B, 104, 11, 5), (c, 111, 9, 20)), points, starts) != []


@pytest.mark.parametrize("names", [(A, B), (None, None)])
def test_two_writers_at_once_are_found(names):
    one, two = series((names[0], 100, 1, 60)), series((names[1], 103, 21, 30))
    lines = sorted([*one, *two], key=lambda line: line.at)
    assert judged(lines, POINTS, STARTS) != []


def test_a_writer_that_writes_again_is_found():
    assert "no second writer" in judged(series((A, 100, 1, 25), (B, 104, 21, 5), (A, 105, 21, 1)), POINTS, STARTS)[0]


def test_a_start_from_nothing_is_fine_when_it_was_asked_for():
    lines = series((A, 100, 1, 25), (B, 104, 1, 30))
    assert judged(lines, POINTS, [STARTS[0], Start(B, 103.0, empty=True)]) == []
    assert judged(lines, POINTS, STARTS) != []


def test_the_print_connectors_lines(tmp_path):
    log = tmp_path / "log"
    log.write_text(
        "sql-1> +I[1, 2026-01-01 00:00:00.250]\nsql-1> -U[1, 2026-01-01 00:00:00.300]\n"
        "sql-1> +U[2, 2026-01-01 00:00:00.300]\nother noise\nsql-1> +U[3, 20"
    )
    assert [line.n for line in read_prints(log, ["sql-1"])["sql-1"]] == [1, 2]
