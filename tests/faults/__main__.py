"""`make faults`: python -m tests.faults [--seed N] [--faults N] [--no-boundaries] [--home FOLDER]"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from tests.faults.run import Run
from tests.faults.world import World


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--seed", type=int, default=1, help="makes a run repeatable")
    parser.add_argument("--faults", type=int, default=230, help="faults at random, after those at the boundaries")
    parser.add_argument("--boundaries", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument(
        "--home", type=Path, help="folder for data and logs, kept; without it, kept when something broke"
    )
    wanted = parser.parse_args()
    home = wanted.home or Path(tempfile.mkdtemp(prefix="penstock-faults-", dir="/tmp"))
    home.mkdir(parents=True, exist_ok=True)
    print(f"data, logs and report.json: {home}", flush=True)
    world = World(home.resolve())
    run: Run | None = None
    try:
        world.up()
        run = Run(world, wanted.seed, wanted.jobs)
        run.begin()
        if wanted.boundaries:
            found = run.discover()
            pairs = [(kind, point) for kind, points in found.items() for point in points]
            run.say(f"{len(pairs)} boundaries: " + ", ".join(f"{kind} {len(p)}" for kind, p in found.items()))
            run.random.shuffle(pairs)
            run.at_boundaries(pairs)
        run.at_random(wanted.faults)
        run.view()
        run.output()
        run.clean()
    finally:
        report = run.close() if run else {"broken": ["it did not start"]}
        world.down()
    print(json.dumps(report, indent=2))
    if wanted.home is None and not report["broken"]:
        shutil.rmtree(home, ignore_errors=True)
    return 1 if report["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
