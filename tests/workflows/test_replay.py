"""Stored histories replayed: a change that would break workflows that run now fails here.

When a change is meant to break them, it needs `workflow.patched`, not new histories. New ones are kept with
`PENSTOCK_KEEP_HISTORIES=tests/workflows/histories python -m pytest tests/workflows/test_job.py`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from worker.main import WORKFLOWS, runner

HISTORIES = sorted(Path(__file__).with_name("histories").glob("*.json"))


@pytest.mark.parametrize("path", HISTORIES, ids=lambda p: p.stem)
async def test_it_replays(path: Path):
    replayer = Replayer(workflows=WORKFLOWS, data_converter=pydantic_data_converter, workflow_runner=runner())
    await replayer.replay_workflow(WorkflowHistory.from_json(f"job-p:{path.stem}", path.read_text()))


def test_there_are_histories():
    assert len(HISTORIES) >= 8
