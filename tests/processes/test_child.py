"""What programs that we start take of a processor."""

from __future__ import annotations

import subprocess
import sys
import time

from processes.child import cpu_seconds

WORKS = "while True: pass"
STARTS_ONE = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {WORKS!r}])"


def test_what_a_process_and_its_children_have_taken():
    with subprocess.Popen([sys.executable, "-c", STARTS_ONE], start_new_session=True) as process:
        try:
            before, deadline = cpu_seconds(process.pid), time.monotonic() + 60
            while cpu_seconds(process.pid) < before + 0.5:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        finally:
            subprocess.run(["pkill", "-KILL", "-s", str(process.pid)], check=False)
    assert cpu_seconds(process.pid) == 0
