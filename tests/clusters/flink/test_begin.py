"""How a Python program begins: in its folder, and never longer than the client that started it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil

from clusters.flink.pyflink import BEGIN, _beginning

PROGRAM = "import os, sys, time; print(os.getpid(), os.getcwd(), sys.argv[1], flush=True); time.sleep(600)"
CLIENT = "import subprocess, sys; subprocess.run(sys.argv[1:])"


def test_it_ends_with_its_client(tmp_path: Path):
    command = [sys.executable, "-I", "-S", str(BEGIN), str(tmp_path), "-c", PROGRAM, "an argument"]
    with subprocess.Popen([sys.executable, "-c", CLIENT, *command], stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        pid, folder, argument = client.stdout.readline().strip().split(" ", 2)
        program = psutil.Process(int(pid))
        try:
            assert (folder, argument) == (str(tmp_path), "an argument")
            client.kill()
            _, left = psutil.wait_procs([program], timeout=20)
            assert left == []
        finally:
            if program.is_running():
                program.kill()


def test_nothing_is_executed_from_a_temporary_folder(tmp_path: Path):
    """That may be mounted noexec."""
    conf, root, built = (tmp_path / name for name in ("a conf", "a root", "built"))
    conf.mkdir()
    root.mkdir()
    begins = _beginning(conf, Path(sys.executable), root, built)
    assert begins.parent == built
    assert [path.name for path in conf.iterdir() if os.access(path, os.X_OK)] == []
    program = "import os, sys; print(os.getcwd(), sys.argv[1])"
    env = {**os.environ, "FLINK_CONF_DIR": str(conf)}
    told = subprocess.run([begins, "-c", program, "an 'argument'"], env=env, capture_output=True, text=True, check=True)
    assert told.stdout == f"{root} an 'argument'\n"
    assert _beginning(conf, Path(sys.executable), root, built) == begins
    assert list(built.iterdir()) == [begins]
