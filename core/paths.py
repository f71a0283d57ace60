"""One spelling for the path of a restore point.

Flink writes `file:/tmp/x`, people write `/tmp/x`, `file:///tmp/x/` or the `_metadata` file itself. Pins, retention and
the plan that made a state are looked up by path: two spellings of one place would be two places.
"""

from __future__ import annotations

import posixpath
import re
from typing import Annotated

from pydantic import BeforeValidator

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*):(?=/)(.*)$", re.DOTALL)
METADATA = "_metadata"
STATE_SCHEMES = frozenset(
    {"file", "hdfs", "viewfs", "s3", "s3a", "s3p", "gs", "gcs", "abfs", "abfss", "wasb", "wasbs", "oss", "cos", "obs"}
)
"""What Flink keeps state on; a further one is a line here, and a driver of fsspec on the workers."""
WITH_FOLDERS = frozenset({"file", "hdfs", "viewfs"})
"""Those of them on which a folder is there without a file in it."""
WITH_NAME_NODE = frozenset({"hdfs", "viewfs"})
"""Those of them whose paths may leave out which of several file systems it is: the one that is configured."""


def normal(path: str) -> str:
    """The one spelling of a path: a scheme in lower case, no doubled or trailing slashes, no `.` or `..`, no
    authority where it says nothing (`file://localhost`).

    Flink's own `Path` drops the same parts by the same rules, `..` too without asking the file system, so both mean the
    same file. What is no absolute path and no URI (an id, a relative path) is given back as it is.
    """
    path = path.strip()
    if path.startswith("/"):
        return "file://" + _clean(path)
    scheme_match = _SCHEME.match(path)
    if scheme_match is None:
        return path
    scheme, rest = scheme_match.group(1).lower(), scheme_match.group(2)
    authority, inner = "", rest
    if rest.startswith("//") and not rest.startswith("///"):
        authority, slash, inner = rest[2:].partition("/")
        inner = slash + inner
    if scheme == "file" and authority.lower() == "localhost":
        authority = ""
    return f"{scheme}://{authority}{_clean(inner)}"


def of_point(path: str) -> str:
    """The one spelling of a restore point: its folder, also where its `_metadata` file is named."""
    point = normal(path)
    while is_path(point) and point.endswith("/" + METADATA):
        point = normal(point.removesuffix(METADATA))
    return point


PointPath = Annotated[str, BeforeValidator(lambda value: of_point(value) if isinstance(value, str) else value)]
"""A field that holds the path of a restore point: whatever is given, the one spelling is kept."""


def as_in(folder: str, path: str) -> str:
    """`path` in the spelling of `folder`, when it lies below it: on a file system with a default name node a folder may
    be named without one (`hdfs:///state`), and Flink tells of what lies in it with one (`hdfs://nn:8020/state/x`)."""
    path, folder = normal(path), normal(folder)
    scheme, _, inner = folder.partition("://")
    if scheme not in WITH_NAME_NODE or not inner.startswith("/") or not path.startswith(f"{scheme}://"):
        return path
    below = path.removeprefix(f"{scheme}://")
    below = below[below.find("/") :] if "/" in below else ""
    return f"{scheme}://{below}" if below.startswith(inner.rstrip("/") + "/") else path


def is_path(text: str) -> bool:
    """Whether it is an absolute path or a URI, in any spelling."""
    text = text.strip()
    return text.startswith("/") or _SCHEME.match(text) is not None


def is_state_scheme(path: str) -> bool:
    """Whether a path is on a kind of file system that keeps state. Others have drivers too (ftp, http, zip, ...): what
    a person names as a restore point is not a way to have a worker connect to anything."""
    scheme = normal(path).partition("://")[0]
    return scheme in STATE_SCHEMES and "::" not in path


def local(path: str) -> str | None:
    """The path on this machine's own file system; None for what is elsewhere."""
    normalized = normal(path)
    return normalized.removeprefix("file://") if normalized.startswith("file:///") else None


def _clean(inner: str) -> str:
    """An absolute path without what says nothing; a bucket or a file system alone stays without a slash."""
    if not inner.strip("/"):
        return "/" if inner else ""
    return posixpath.normpath("/" + inner.lstrip("/"))
