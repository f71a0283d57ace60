"""Logs as Maven 3.8.7 wrote them where no other version is named, shortened."""

from __future__ import annotations

from pathlib import Path

import pytest

from builds import maven_log

ROOT = Path("/scratch/source")
UNREADABLE = """\
[INFO] Scanning for projects...
[ERROR] [ERROR] Some problems were encountered while processing the POMs:
[FATAL] Non-resolvable parent POM for nowhere:bad:1: Could not find artifact nowhere:missing-parent:pom:1 @ line 1
[ERROR] Child module /scratch/source/gone of /scratch/source/pom.xml does not exist @
 @
[ERROR] The build could not read 2 projects -> [Help 1]
[ERROR]
[ERROR]   The project nowhere:bad:1 (/scratch/source/bad/pom.xml) has 1 error
[ERROR]     Non-resolvable parent POM for nowhere:bad:1: Could not find artifact nowhere:missing-parent:pom:1 -> [Help 2]
[ERROR]
[ERROR] To see the full stack trace of the errors, re-run Maven with the -e switch.
[ERROR] Re-run Maven using the -X switch to enable full debug logging.
[ERROR]
[ERROR] For more information about the errors and possible solutions, please read the following articles:
[ERROR] [Help 1] http://cwiki.apache.org/confluence/display/MAVEN/ProjectBuildingException"""
COMPILER = """\
[ERROR] COMPILATION ERROR :
[ERROR] /scratch/source/app/src/main/java/Clicks.java:[12,8] cannot find symbol
[ERROR]   symbol:   method exekute()
[ERROR] Failed to execute goal maven-compiler-plugin:3.1:compile (default-compile) on project app: failure -> [Help 1]
[ERROR] After correcting the problems, you can resume the build with the command
[ERROR]   mvn <args> -rf :app"""
CACHED = """\
[ERROR] Failed to execute goal on project good: Could not resolve dependencies for project x:good:jar:1: \
nope.x:nah:jar:1 was not found in https://repo.example during a previous attempt. This failure was cached in the \
local repository and resolution is not reattempted until the update interval of central has elapsed -> [Help 1]"""
CACHED_36 = """\
[ERROR] Failed to execute goal on project good: Could not resolve dependencies for project x:good:jar:1: Failure to find \
nope.x:nah:jar:1 in https://repo.example was cached in the local repository, resolution will not be reattempted until the \
update interval of central has elapsed or updates are forced -> [Help 1]"""
CACHED_39 = """\
[ERROR] Failed to execute goal on project good: Could not resolve dependencies for project x:good:jar:1
[ERROR] dependency: nope.x:nah:jar:1 (compile)
[ERROR] \tnope.x:nah:jar:1 was not found in https://repo.example during a previous attempt. This failure was cached in the \
local repository and resolution is not reattempted until the update interval of central has elapsed or updates are forced
[ERROR] \tnope.x:nah:jar:1 was not found in https://mirror.example during a previous attempt. This failure was cached in \
the local repository and resolution is not reattempted until the update interval of mirror has elapsed
[ERROR] -> [Help 1]"""

SEVERAL = """\
[ERROR] Failed to execute goal on project app: Could not resolve dependencies for project x:app:jar:1: The following \
artifacts could not be resolved: a.b:c:jar:2, d.e:f:jar:3: Could not find artifact a.b:c:jar:2 in central \
(https://repo.example) -> [Help 1]"""
COLLECTED = """\
[ERROR] Failed to execute goal on project app: Could not resolve dependencies for project x:app:jar:1: Failed to collect \
dependencies at a.b:c:jar:2: Failed to read artifact descriptor for a.b:c:jar:2: Could not transfer artifact \
a.b:c:pom:2 from/to other (https://repo.example): Unknown host repo.example -> [Help 1]"""


@pytest.mark.parametrize(
    ("log", "first", "no"),
    [
        (UNREADABLE, "Child module gone of pom.xml does not exist @", "[Help"),
        (COMPILER, "app/src/main/java/Clicks.java:[12,8] cannot find symbol", "/scratch"),
        (CACHED, "nope.x:nah:jar:1 was not found in https://repo.example", "[Help"),
        (
            SEVERAL,
            "Could not find artifact a.b:c:jar:2 in central (https://repo.example) (a dependency of app)",
            "Failed",
        ),
    ],
)
def test_the_cause_comes_first(log: str, first: str, no: str):
    why = maven_log.reason(log.splitlines(), ROOT)
    assert why.startswith(first)
    assert no not in why
    assert "mvn <args>" not in why


def test_a_maven_that_is_too_old_is_told():
    why = maven_log.reason(["Unable to parse command line options: Unrecognized option: -ntp", "usage: mvn"], ROOT)
    assert why == "the Maven of the workers is too old: Penstock needs 3.6.3 or later."


def test_without_an_error_the_end_of_the_log_is_shown():
    assert maven_log.reason([f"line {n}" for n in range(30)], ROOT).splitlines() == [f"line {n}" for n in range(20, 30)]


def test_what_maven_passes_over():
    assert maven_log.unreadable_projects(UNREADABLE.splitlines())
    assert not maven_log.unreadable_projects(COMPILER.splitlines())
    for cached in (CACHED, CACHED_36, CACHED_39):
        assert maven_log.misses_remembered(cached.splitlines())
    assert not maven_log.misses_remembered(UNREADABLE.splitlines())
    warning = '[WARNING] The requested profile "nope" could not be activated because it does not exist.'
    assert maven_log.unknown_profiles([warning, warning, "[INFO] BUILD SUCCESS"]) == ["nope"]
