"""Task managers that died: on the timelines of those whom it concerns, in a few lines per hour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from clusters.protocol import Loss, Overview
from services import Services
from services.hidden import scrubber
from store import attempts, clusters
from store.database import Session
from store.tables import Cluster

LINES = 5
"""An hour at most, of a cluster: one that dies again and again would bury what else is on the timelines."""
_HOUR = timedelta(hours=1)


@dataclass
class _Pace:
    """Of one cluster: when the last lines were told, and what was not told since. `seen` and `most` count the task
    managers of one that others run: as of the last look, and the most since the last line."""

    told: list[datetime] = field(default_factory=list)
    untold: int = 0
    counted: datetime | None = None
    seen: int | None = None
    most: int = 0

    def may_tell(self, now: datetime) -> bool:
        self.told = [at for at in self.told if now - at < _HOUR]
        return len(self.told) < LINES

    def tells(self, now: datetime) -> int:
        """How many were not told before this line."""
        self.told.append(now)
        untold, self.untold = self.untold, 0
        return untold


class Losses:
    """Who looks first at a loss tells it; the database keeps it from being told twice."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._told: set[str] = set()
        """Keys of what is on a timeline for certain: it was found there."""
        self._paces: dict[tuple[str, Any], _Pace] = {}

    async def tell(
        self,
        session: Session,
        cluster: Cluster,
        known: Sequence[Mapping[str, Any]],
        overview: Overview,
        health: Mapping[str, Any] | None,
        now: datetime,
    ) -> None:
        """What one look at `cluster` shows: `known` are its attempts that have not ended, `health` is None when it was
        not asked for. Of a cluster that Penstock runs each death is known, by the look at the machine that runs it; of
        another one that there are fewer task managers than there were."""
        new = {}
        for row in known:
            seen = overview.jobs.get(row["handle"])
            for loss in seen.losses if seen else ():
                key = _loss_key(loss)
                new[_key(row, key)] = (row, loss, key)
        there = await attempts.known_events(session, [key for key in new if key not in self._told])
        self._told = (self._told & new.keys()) | there
        for kept, (row, loss, key) in new.items():
            if kept not in self._told:
                await self._tell_hosted(session, row, loss, key, now)
        left = (health or {}).get("taskmanagers")
        if cluster.managed_by is None and left is not None and (words := self._fewer(cluster, left, now)):
            _tell(session, known, now.isoformat(), words, now)

    async def tell_of_stack(self, session: Session, url: str, died: Sequence[Loss], now: datetime) -> None:
        """What the keeper of the local stack has told, whose JobManager is at `url`: on the timelines of those that run
        there, and did so then."""
        for cluster in await clusters.all_(session):
            if cluster.managed_by is not None or cluster.jobmanager_url != url:
                continue
            pace = self._paces.setdefault((url, cluster.created_at), _Pace())
            rows = await attempts.open_on(session, cluster.name)
            began = {row["job_id"]: await attempts.get(session, row["job_id"], row["number"]) for row in rows}
            scrubbed = await scrubber(self._services, session, [row["project"] for row in rows])
            for loss in died:
                there = [row for row in rows if (a := began[row["job_id"]]) is not None and a.started_at <= loss.at]
                await self._of_stack(session, pace, there, loss, scrubbed(loss.why), now)

    async def _of_stack(
        self,
        session: Session,
        pace: _Pace,
        rows: Sequence[Mapping[str, Any]],
        loss: Loss,
        why: str,
        now: datetime,
    ) -> None:
        key = _loss_key(loss)
        known = await attempts.known_events(session, [_key(row, key) for row in rows])
        new = [row for row in rows if _key(row, key) not in known]
        if not new or (pace.counted is not None and loss.at <= pace.counted):
            return
        if not pace.may_tell(now):
            pace.untold, pace.counted = pace.untold + 1, loss.at
            return
        words = f"{loss.part} of the local stack died, and is started again: {why}{_more(pace.tells(now))}"
        _tell(session, new, key, words, loss.at)

    async def _tell_hosted(self, session: Session, row: Mapping[str, Any], loss: Loss, key: str, now: datetime) -> None:
        """On the timeline of the job that runs the cluster, and of all that run on it now."""
        pace = self._paces.setdefault((row["job_id"], row["number"]), _Pace())
        if pace.counted is not None and loss.at <= pace.counted:
            return
        if not pace.may_tell(now):
            pace.untold, pace.counted = pace.untold + 1, loss.at
            return
        hosted = await clusters.managed_by(session, row["job_id"])
        rows = [row, *(await attempts.open_on(session, hosted.name) if hosted else [])]
        # Last words may be those of any job on the cluster.
        scrubbed = await scrubber(self._services, session, [each["project"] for each in rows])
        words = f"{loss.part} of {row['project']}:{row['name']} died, and is started again: {scrubbed(loss.why)}"
        words += _more(pace.tells(now))
        _tell(session, rows, key, words, loss.at)

    def _fewer(self, cluster: Cluster, left: int, now: datetime) -> str | None:
        """What is to be told of a cluster that others run, whose numbers go down and up. Compared is what was seen
        here: a page that is opened writes its row, too, and tells nothing."""
        pace = self._paces.setdefault((cluster.name, cluster.created_at), _Pace())
        if pace.seen is None:
            before = (cluster.health or {}).get("taskmanagers")
            pace.seen = pace.most = left if before is None else before
        pace.untold += left < pace.seen
        pace.seen, pace.most = left, max(pace.most, left)
        if not pace.untold or not pace.may_tell(now):
            return None
        times, most = pace.tells(now), pace.most
        pace.most = left
        more = f"; {times} times there were fewer since the last line" if times > 1 else ""
        if left < most:
            return f"{cluster.name} has {left} of the {most} task managers that it had{more}"
        return f"{cluster.name} had fewer task managers for a while, and has {left} again{more}"


def _loss_key(loss: Loss) -> str:
    return f"{loss.part}/{int(loss.at.timestamp() * 1000)}"


def _more(untold: int) -> str:
    return f" ({untold} more died since the last line)" if untold else ""


def _key(row: Mapping[str, Any], key: str) -> str:
    return f"{row['job_id']}/lost/{row['number']}/{key}"


def _tell(session: Session, rows: Sequence[Mapping[str, Any]], key: str, words: str, at: datetime) -> None:
    for row in rows:
        attempt = row["number"]
        attempts.add_event(
            session, _key(row, key), row["job_id"], kind="cluster", message=words, attempt=attempt, at=at
        )
