"""Begins a Python program in its folder, and has the kernel end it when its client ends, however that does (prctl(2)).

Run by the program's own interpreter, which has nothing of ours: `begin.py FOLDER ARGUMENTS-OF-PYTHON`."""

import ctypes
import os
import signal
import sys

if __name__ == "__main__":
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    os.chdir(sys.argv[1])
    os.execv(sys.executable, [sys.executable, *sys.argv[2:]])  # noqa: S606 - there is to be no shell
