"""What jobs are made from: source by Git, jars by Maven, Python environments, and what was built, kept."""

import os

# Where there is no Git, its library refuses to be imported, and a worker to begin, which needs it for builds alone.
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
