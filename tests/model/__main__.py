"""`python -m tests.model`: every case in its whole bound, with its states, seconds and story."""

from __future__ import annotations

from tests.model import cases

TITLES = {
    "With the rules as they are": cases.HOLDS,
    "One rule taken out": cases.WITHOUT,
    "Where the rules do not hold": cases.HOLES,
    "What closes that": cases.CLOSED,
}


def main() -> None:
    states, seconds = 0, 0.0
    for title, chosen in TITLES.items():
        print(f"\n{title}\n{'=' * len(title)}")
        for case in chosen:
            result = case.run()
            states, seconds = states + result.states, seconds + result.seconds
            print(f"\n{case.name}")
            print(
                f"{result.states:,} states, {result.steps:,} steps, depth {result.depth}, {result.seconds:.1f} s\n"
                f"{result.told()}"
            )
    print(f"\n{states:,} states in {seconds:.0f} s")


if __name__ == "__main__":
    main()
