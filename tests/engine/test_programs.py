"""The mark of a program's jobs, and the ids that Flink makes from one that is fixed."""

import pytest

from engine.programs import KEY, Mark, follows, marked

MARK = Mark("a" * 32, "s1")


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        (None, f"penstock.attempt:{'a' * 32},penstock.send:s1"),
        ("", f"penstock.attempt:{'a' * 32},penstock.send:s1"),
        ("day:1,url:'a:b'", f"day:1,url:'a:b',penstock.attempt:{'a' * 32},penstock.send:s1"),
        ("{day: 1}", f"{{day: 1, penstock.attempt: '{'a' * 32}', penstock.send: 's1'}}"),
        ("{}", f"{{penstock.attempt: '{'a' * 32}', penstock.send: 's1'}}"),
    ],
)
def test_the_mark_stands_beside_what_the_job_has(given, becomes):
    config = {"x": "y"} if given is None else {"x": "y", KEY: given}
    assert marked(config, MARK) == {"x": "y", KEY: becomes}


@pytest.mark.parametrize(
    ("other", "does"),
    [
        ("e27c6117bc3d48a4b9cc1b834e16c9a3", True),  # as Flink 2.3.0 made it
        ("e27c6117bc3d48b5b9cc1b834e16c9b4", True),
        ("e27c6117bc3d48a3b9cc1b834e16c9a2", False),  # itself
        ("e27c6117bc3d48a2b9cc1b834e16c9a1", False),  # one before
        ("e27c6117bc3d48a4b9cc1b834e16c9a4", False),
        ("0" * 32, False),
        ("no id", False),
    ],
)
def test_ids_of_later_jobs_of_one_environment(other, does):
    assert follows("e27c6117bc3d48a3b9cc1b834e16c9a2", other) is does


def test_the_halves_go_around():
    assert follows("f" * 32, "0" * 32)
