"""Rows of the database as tests need them: every field that has to be there, and what a test says of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeVar

from activities.contracts import OpenAttempt
from core.jobs.records import Record
from store.tables import Attempt, Cluster, Job, Preview

Opening = TypeVar("Opening", bound=OpenAttempt)
T0 = datetime(2026, 1, 1, tzinfo=UTC)


def cluster_row(name: str = "local", **more: Any) -> Cluster:
    fields = {
        "kind": "flink-session",
        "jobmanager_url": "http://x",
        "flink_version": "2.3.0",
        "state_dir": "file:///s",
        "config": {},
        "created_at": T0,
    }
    return Cluster(name=name, **fields | more)


def job_row(id_: str, **more: Any) -> Job:
    fields = {
        "project": "default",
        "type": "sql",
        "cluster": "local",
        "version": 1,
        "labels": {},
        "policy": {},
        "config": {},
        "actions": [],
        "created_at": T0,
        "updated_at": T0,
    }
    return Job(id=id_, **fields | more)


def attempt_row(job_id: str, number: int = 1, **more: Any) -> Attempt:
    fields = {"handle": "h", "cluster": "local", "version": 1, "cause": "test", "config": {}, "started_at": T0}
    return Attempt(job_id=job_id, number=number, **fields | more)


def preview_row(flink_job_id: str, **more: Any) -> Preview:
    fields = {
        "id": "p",
        "project": "default",
        "cluster": "local",
        "stream": "x",
        "run": "r",
        "request": {},
        "state": "RUNNING",
        "lease_until": T0,
        "created_at": T0,
    }
    return Preview(flink_job_id=flink_job_id, **fields | more)


def opening(model: type[Opening], job_id: str, flink_job_id: str, **more: Any) -> Opening:
    """What an activity is told that writes the first attempt of a job down."""
    fields = {
        "number": 1,
        "cluster": "local",
        "version": 1,
        "restore_path": None,
        "restore_why": "",
        "allow_non_restored_state": False,
        "cause": "x",
        "build_key": None,
        "commit": None,
        "record": Record(job_id=job_id),
    }
    return model.model_validate({"job_id": job_id, "flink_job_id": flink_job_id, **fields, **more})
