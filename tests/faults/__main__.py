"""`make faults`: see docs/reliability.md. `python -m tests.faults --help` tells the options."""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.faults import clocks
from tests.faults.disks import can_mount
from tests.faults.probe import probe
from tests.faults.rounds import Rounds
from tests.faults.run import ORDINARY, ROLES, Run
from tests.faults.upgrades import upgrades
from tests.faults.world import World


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--seed", type=int, default=1, help="makes a run repeatable")
    parser.add_argument("--faults", type=int, default=230, help="faults at random, after those at the boundaries")
    parser.add_argument(
        "--boundaries", action=argparse.BooleanOptionalAction, help="by default unless --kinds is given"
    )
    parser.add_argument("--kinds", default="", help="of faults and of verbs, separated by commas; by default all")
    parser.add_argument("--fewer", type=float, default=0.7, help="rounds for each fault; less than 1: some have two")
    parser.add_argument("--minutes", type=float, default=math.inf, help="no round is begun after so many")
    parser.add_argument("--probe", type=int, nargs="?", const=15, help="measure three cases, so many times each")
    parser.add_argument("--from", dest="old", help="a commit: API and workers are upgraded from it --faults times")
    parser.add_argument(
        "--home", type=Path, help="folder for data and logs, kept; without it, kept when something broke"
    )
    wanted = parser.parse_args()
    home = wanted.home or Path(tempfile.mkdtemp(prefix="penstock-faults-", dir="/tmp"))
    home.mkdir(parents=True, exist_ok=True)
    print(f"data, logs and report.json: {home}", flush=True)
    report = _carry_out(wanted, home.resolve())
    print(json.dumps(report, indent=2))
    if wanted.home is None and not report["broken"]:
        shutil.rmtree(home, ignore_errors=True)
    return 1 if report["broken"] else 0


def _carry_out(wanted: argparse.Namespace, home: Path) -> dict[str, list[str]]:
    kinds = [kind for kind in wanted.kinds.split(",") if kind]
    plain = wanted.probe or wanted.old
    disks = not plain and (not kinds or "disk-full" in kinds) and can_mount(home / "mounted")
    stepping = not plain and (not kinds or "clock-step" in kinds)
    if not plain and not disks and not kinds:
        print("no disk of its own can be made here: disk-full is left out", flush=True)
    if stepping and not clocks.available():
        print("there is no gcc: clock-step is left out", flush=True)
        stepping = False
    if wanted.old:
        return upgrades(home, wanted.old, wanted.faults, wanted.seed)
    world = World(home, disks=disks, stepping=stepping)
    run: Run | None = None
    until = time.monotonic() + wanted.minutes * 60
    try:
        world.up()
        run = Run(world, wanted.seed, ORDINARY if wanted.probe else ROLES)
        rounds = Rounds(run, kinds)
        run.begin()
        if wanted.probe:
            probe(run, wanted.probe, until)
        else:
            if wanted.boundaries or (wanted.boundaries is None and not kinds):
                run.every_boundary(until)
            rounds.play(wanted.faults, fewer=wanted.fewer, until=until)
        run.view()
        run.output()
        run.clean()
    finally:
        report = run.close() if run else {"broken": ["it did not start"]}
        world.down()
    return report


if __name__ == "__main__":
    sys.exit(main())
