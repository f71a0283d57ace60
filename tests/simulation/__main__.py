"""`python -m tests.simulation --seconds 60 --processes 2 --seed 1`, or `--replay SEED` for one run in words."""

from __future__ import annotations

import argparse
import sys
from functools import partial

from tests.simulation.mutations import MUTATIONS, put_in
from tests.simulation.search import search, with_fixed_hashes
from tests.simulation.story import SKELETONS, invent, play, shrink, told


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    kinds = [skeleton.__name__[1:] for skeleton in SKELETONS]
    parser.add_argument("--kind", choices=kinds, help="stories of one kind only (see tests/simulation/story.py)")
    parser.add_argument("--stories", type=int, default=2, help="stories told per invariant and process")
    parser.add_argument("--replay", help="the seed of one run, to be told in words")
    parser.add_argument("--shrink", action="store_true", help="with --replay: the shortest story that breaks the same")
    parser.add_argument("--mutation", help="take one mend out (see tests/simulation/mutations.py)")
    parser.add_argument(
        "--mutations", action="store_true", help="take each mend out in turn; --seconds for each at most"
    )
    chosen = parser.parse_args()
    with_fixed_hashes()
    if chosen.mutations or chosen.mutation:
        return mutations([chosen.mutation] if chosen.mutation else list(MUTATIONS), chosen)
    if chosen.replay:
        return replay(chosen.replay, shorten=chosen.shrink)
    report = search(chosen.seconds, _seed(chosen), chosen.processes, stories=chosen.stories)
    for story in report.stories:
        print(story, end="\n\n")
    print("\n".join(report.lines()))
    print(f"seed {_seed(chosen)}")
    return 1 if report.broken else 0


def mutations(names: list[str], chosen: argparse.Namespace) -> int:
    """Every mend that is taken out has to be missed."""
    missed = 0
    for name in names:
        report = search(
            chosen.seconds, _seed(chosen), chosen.processes, stories=1, until_broken=True, prepare=partial(put_in, name)
        )
        # What is broken with the mend, too, was not found by taking it out.
        also = [o for o in report.outcomes if play(o.seed, o.story).violations]
        found = report.first_seed is not None and not also
        missed += not found
        what = f"found after {report.first_after:.1f} s, seed {report.first_seed}" if found else "NOT FOUND"
        if also:
            what += " (its story breaks with the mend, too)"
        print(f"== finding {MUTATIONS[name].finding}: {MUTATIONS[name].what}\n   {what}, {report.runs} interleavings")
        for story in report.stories[:1]:
            print("\n".join(f"   {line}" for line in story.splitlines()))
        print(flush=True)
    return 1 if missed else 0


def _seed(chosen: argparse.Namespace) -> str:
    return f"{chosen.kind}:{chosen.seed}" if chosen.kind else str(chosen.seed)


def replay(seed: str, *, shorten: bool) -> int:
    outcome = play(seed, invent(seed), log=True)
    if shorten and outcome.violations:
        outcome = shrink(outcome)
    print(told(outcome))
    return 1 if outcome.violations else 0


if __name__ == "__main__":
    sys.exit(main())
