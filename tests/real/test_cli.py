"""The command line against a real stack: what people read, what programs read, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from settings.code import ROOT
from tests.real.conftest import SQL, Stack

pytestmark = pytest.mark.real


def penstock(stack: Stack, *arguments: str, code: int = 0, text: str | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PENSTOCK_URL": stack.local.api_url, "PENSTOCK_HOME": str(stack.local.settings.home)}
    env["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-m", "cli", *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, input=text, timeout=300, check=False)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done


def test_a_job_from_a_file_through_its_life(stack: Stack, tmp_path: Path):
    name = f"cli-{uuid.uuid4().hex[:8]}"
    script = tmp_path / "job.sql"
    script.write_text(SQL)
    made = penstock(stack, "jobs", "create", name, "-f", str(script), "--start", "--wait")
    assert "statement 1: SET" in made.stdout
    assert "start: SUCCEEDED" in made.stdout
    assert name in penstock(stack, "jobs", "list", "--state", "RUNNING").stdout
    shown = json.loads(penstock(stack, "jobs", "show", name, "--json").stdout)
    assert shown["state"] == "RUNNING"
    assert "RUNNING" in penstock(stack, "jobs", "show", name).stdout
    penstock(stack, "jobs", "savepoint", name, "--wait")
    assert "savepoint" in penstock(stack, "jobs", "restore-points", name).stdout
    penstock(stack, "jobs", "pause", name, "--wait", "--reason", "test")
    refused = penstock(stack, "jobs", "pause", name, code=5)
    assert "PAUSED" in refused.stderr
    assert "Allowed now" in refused.stderr
    assert "state" in penstock(stack, "jobs", "timeline", name).stdout
    assert "execution.checkpointing.interval" in penstock(stack, "jobs", "config", name).stdout
    assert "statement 1" in penstock(stack, "jobs", "log", name, "1").stdout
    penstock(stack, "jobs", "add-version", name, "-f", "-", text=json.dumps({"type": "sql", "sql": SQL + "\n-- more"}))
    assert "+-- more" in penstock(stack, "jobs", "diff", name, "1", "2").stdout
    penstock(stack, "jobs", "resubmit", name, code=2)
    penstock(stack, "jobs", "resubmit", name, "--restore", "newest", "--wait")
    penstock(stack, "jobs", "kill", name, "--wait")
    penstock(stack, "jobs", "delete", name)
    penstock(stack, "jobs", "show", name, code=4)


def test_a_start_that_fails_is_code_1_with_the_reason(stack: Stack, tmp_path: Path):
    script = tmp_path / "bad.sql"
    script.write_text("INSERT INTO nowhere SELECT 1;")
    done = penstock(
        stack, "jobs", "create", f"cli-{uuid.uuid4().hex[:8]}", "-f", str(script), "--start", "--wait", code=1
    )
    assert "Statement 1, line 1, column 1" in done.stderr


def test_an_api_that_is_away_is_code_3(stack: Stack):
    env = {**os.environ, "PENSTOCK_URL": "http://127.0.0.1:9", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "cli", "jobs", "list"], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "penstock up" in done.stderr


def test_clusters_are_listed_with_their_health(stack: Stack):
    assert "reachable" in penstock(stack, "clusters", "list").stdout
    assert (
        json.loads(penstock(stack, "clusters", "show", "local", "-o", "json").stdout)["health"]["details"][
            "slots_total"
        ]
        > 0
    )


def test_a_port_that_is_taken_is_named_with_its_setting(stack: Stack, tmp_path: Path):
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PENSTOCK_HOME": str(tmp_path),
        "PENSTOCK_TEMPORAL_PORT": str(stack.ports["temporal"]),
        "PENSTOCK_TEMPORAL_UI_PORT": "19",
    }
    done = subprocess.run([sys.executable, "-m", "cli", "up"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "PENSTOCK_TEMPORAL_PORT" in done.stderr
    assert str(stack.ports["temporal"]) in done.stderr
