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

GOAL = "[ERROR] Failed to execute goal org.apache.maven.plugins:"
RULE = "[ERROR] Rule {}: org.apache.maven.enforcer.rules.{} failed with message:\n[ERROR] "
ENFORCER = f"""\
{GOAL}maven-enforcer-plugin:3.5.0:enforce (e) on project app:
{RULE.format(0, "version.RequireMavenVersion")}Detected Maven Version: 3.8.7 is not in the allowed range [9.0,).
{RULE.format(1, "dependency.BannedDependencies")}x:app:jar:1
[ERROR]    junit:junit:jar:4.13.2 <--- banned via the exclude/include list
[ERROR] -> [Help 1]"""
BANNED = f"""\
[ERROR] something that went on all the same
{GOAL}maven-enforcer-plugin:3.5.0:enforce (e) on project app:
{RULE.format(0, "dependency.BannedDependencies")}x:app:jar:1
[ERROR]    junit:junit:jar:4.13.2 <--- banned via the exclude/include list
[ERROR] -> [Help 1]"""
ENFORCER_30 = f"""\
[WARNING] Rule 0: org.apache.maven.plugins.enforcer.RequireJavaVersion failed with message:
Detected JDK Version: 17.0.15 is not in the allowed range [21,).
{GOAL}maven-enforcer-plugin:3.0.0:enforce (e) on project app: Some Enforcer rules have failed. Look above for specific \
messages explaining why the rule failed. -> [Help 1]"""
TARGET = f"""\
{GOAL}maven-compiler-plugin:3.11.0:compile (default-compile) on project app: Fatal error compiling: error: release \
version 99 not supported -> [Help 1]"""
PARENT = """\
[ERROR] [ERROR] Some problems were encountered while processing the POMs:
[FATAL] Non-resolvable parent POM for x:app:7: Could not find artifact x:parent:pom:7 in central @ line 1
[ERROR] The build could not read 1 project -> [Help 1]
[ERROR]
[ERROR]   The project x:app:7 (/scratch/source/pom.xml) has 1 error
[ERROR]     Non-resolvable parent POM for x:app:7: Could not find artifact x:parent:pom:7 in central -> [Help 2]"""
TESTS = f"""\
[ERROR] Tests run: 2, Failures: 1, Errors: 1, Skipped: 0, Time elapsed: 0.130 s <<< FAILURE! -- in ATest
[ERROR] ATest.breaks -- Time elapsed: 0.019 s <<< ERROR!
[INFO]
[INFO] Results:
[INFO]
[ERROR] Failures:
[ERROR]   ATest.adds:1 expected:<2> but was:<3>
[ERROR] Errors:
[ERROR]   ATest.breaks:1 IllegalState no state
{GOAL}maven-surefire-plugin:3.2.5:test (default-test) on project app: There are test failures. -> [Help 1]"""
TESTS_212 = f"""\
Failed tests:   adds(ATest): expected:<2> but was:<3>

Tests in error:
  breaks(ATest): no state
{GOAL}maven-surefire-plugin:2.12.4:test (default-test) on project app: There are test failures.
[ERROR]
[ERROR] Please refer to /scratch/source/target/surefire-reports for the individual test results.
[ERROR] -> [Help 1]"""
STYLE = f"""\
[ERROR] src/main/java/A.java:[1,9] (whitespace) WhitespaceAround: '{{' is not followed by whitespace.
{GOAL}maven-checkstyle-plugin:3.3.1:check (default) on project app: You have 1 Checkstyle violation. -> [Help 1]"""
STYLE_GOES_ON = f"""\
[ERROR] src/main/java/A.java:[1,9] (whitespace) WhitespaceAround: '{{' is not followed by whitespace.
[INFO] -------------------------------------------------------------
[ERROR] COMPILATION ERROR :
[INFO] -------------------------------------------------------------
[ERROR] /scratch/source/src/main/java/A.java:[3,1] ';' expected
{GOAL}maven-compiler-plugin:3.11.0:compile (default-compile) on project app: Compilation failure -> [Help 1]"""
NO_RULE = f"{GOAL}maven-antrun-plugin:3.1.0:run (x) on project app: An Ant BuildException has occured: no -> [Help 1]"

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
        (CACHED_39, "nope.x:nah:jar:1 was not found in https://repo.example during a previous", "[Help"),
        (ENFORCER, "Detected Maven Version: 3.8.7 is not in the allowed range [9.0,).\n", "[Help"),
        (BANNED, "junit:junit:jar:4.13.2 <--- banned via the exclude/include list\n", "[Help"),
        (ENFORCER_30, "Detected JDK Version: 17.0.15 is not in the allowed range [21,).\n", "[Help"),
        (TARGET, "Fatal error compiling: error: release version 99 not supported (maven-compiler-plugin:com", "goal"),
        (PARENT, "Non-resolvable parent POM for x:app:7: Could not find artifact x:parent:pom:7 in central\n", "[H"),
        (TESTS, "ATest.adds:1 expected:<2> but was:<3>\n", "[Help"),
        (TESTS_212, "adds(ATest): expected:<2> but was:<3>\n", "/scratch"),
        (STYLE, "src/main/java/A.java:[1,9] (whitespace) WhitespaceAround: ", "[Help"),
        (STYLE_GOES_ON, "src/main/java/A.java:[3,1] ';' expected\n", "/scratch"),
        (NO_RULE, "An Ant BuildException has occured: no (maven-antrun-plugin:run of app)", "Failed"),
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


def test_a_dependency_of_maven_39_is_told_with_whose_it_is():
    first = maven_log.reason(CACHED_39.splitlines(), ROOT).splitlines()[0]
    assert first.endswith("(a dependency of good)")


@pytest.mark.parametrize("log", [ENFORCER, TESTS, TESTS_212, STYLE_GOES_ON], ids=["rule", "tests", "old", "style"])
def test_a_log_that_is_cut_off_anywhere_has_a_reason(log: str):
    lines = log.splitlines()
    for begin in range(len(lines)):
        for end in range(begin + 1, len(lines) + 1):
            maven_log.reason([lines[-1], *lines[begin:end]], ROOT)


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
