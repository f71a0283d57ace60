"""`python -m tests.simulation --seconds 60 --processes 2 --seed 1`, or `--replay SEED` for one run in words."""

from __future__ import annotations

import argparse
import sys

from tests.simulation.search import search, with_fixed_hashes


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stories", type=int, default=2, help="stories told per invariant and process")
    parser.add_argument("--replay", help="the seed of one run, to be told in words")
    parser.add_argument("--shrink", action="store_true", help="with --replay: the shortest story that breaks the same")
    chosen = parser.parse_args()
    with_fixed_hashes()
    if chosen.replay:
        return replay(chosen.replay, shorten=chosen.shrink)
    report = search(chosen.seconds, chosen.seed, chosen.processes, stories=chosen.stories)
    for story in report.stories:
        print(story, end="\n\n")
    print("\n".join(report.lines()))
    print(f"seed {chosen.seed}")
    return 1 if report.broken else 0


def replay(seed: str, *, shorten: bool) -> int:
    from tests.simulation.story import invent, play, shrink, told

    outcome = play(seed, invent(seed), log=True)
    if shorten and outcome.violations:
        outcome = shrink(outcome)
    print(told(outcome))
    return 1 if outcome.violations else 0


if __name__ == "__main__":
    sys.exit(main())
