"""Logs as Gradle 4 and 7 write them, shortened."""

from __future__ import annotations

from pathlib import Path

import pytest

from builds import gradle_log

ROOT = Path("/scratch/source")
COMPILER = """\
> Task :app:compileJava FAILED
:app:compileJava/scratch/source/app/src/main/java/Clicks.java:12: error: cannot find symbol
    env.exekute();
       ^
1 error

FAILURE: Build failed with an exception.

* What went wrong:
Execution failed for task ':app:compileJava'.
> Compilation failed; see the compiler error output for details.

* Try:
> Run with --stacktrace option to get the stack trace.

BUILD FAILED in 3s"""
UNRESOLVED = """\
FAILURE: Build failed with an exception.

* Where:
Build file '/scratch/source/build.gradle' line: 3

* What went wrong:
Execution failed for task ':compileJava'.
> Could not resolve all files for configuration ':compileClasspath'.
   > Could not find com.acme:nothing:1.
     Searched in the following locations:
       - https://repo.example/com/acme/nothing/1/nothing-1.pom
     Required by:
         project :

* Try:
Run with --info"""
NO_NETWORK = """\
Downloading https://services.gradle.org/distributions/gradle-7.1-bin.zip
Exception in thread "main" java.net.UnknownHostException: services.gradle.org
\tat java.base/java.net.Socket.connect(Socket.java:633)"""
NO_JAR = """\
Error: Could not find or load main class org.gradle.wrapper.GradleWrapperMain
Caused by: java.lang.ClassNotFoundException: org.gradle.wrapper.GradleWrapperMain"""


@pytest.mark.parametrize(
    ("log", "first", "then"),
    [
        (COMPILER, "app/src/main/java/Clicks.java:12: error: cannot find symbol", "Execution failed for task"),
        (UNRESOLVED, "Could not find com.acme:nothing:1.", "Execution failed for task ':compileJava'."),
        (NO_NETWORK, "the wrapper could not get its Gradle: java.net.UnknownHostException: services.gradle.org", ""),
        (NO_JAR, "gradle/wrapper/gradle-wrapper.jar cannot be used.", ""),
        ("something\n\nelse", "something", "else"),
    ],
)
def test_the_cause_comes_first(log: str, first: str, then: str):
    why = gradle_log.reason(log.splitlines(), ROOT)
    assert why.startswith(first)
    assert [*why.splitlines(), ""][1].startswith(then)
    assert "--stacktrace" not in why
