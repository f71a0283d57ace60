"""Which Java something is for, where that is why it failed: read from what compilers, build tools and JVMs say."""

from __future__ import annotations

import re

FIRST_CLASS_FILE = 44
"""Class files of Java N have version 44 + N."""
OLDEST = 8
"""What compilers of today still compile for."""

# As Java 17, Maven 3.8 with its compiler, toolchains and enforcer plugins, and Gradle 4 to 9 word it.
_RUNTIME = re.compile(
    r"class file version (\d+)[\d.]*\), this version of the Java Runtime only recognizes .* up to (\d+)"
)
_LIBRARY = re.compile(r"class file has wrong version (\d+)\.\d+, should be (\d+)\.\d+")
_LIBRARY_OF_GRADLE = re.compile(r"requires at least JVM runtime version (\d+)\. This build uses a Java (\d+) JVM")
_COMPILER = re.compile(
    r"invalid (?:target|source) release: (?:1\.)?(\d+)|error: release version (\d+) not supported|"
    r"(?:Source|Target) option (?:1\.)?(\d+) is no longer supported"
)
_TOOLCHAIN = re.compile(
    r"(?:No matching toolchains found|Cannot find a Java installation).*?languageVersion=(\d+)"
    r"|Cannot find matching toolchain definitions[^\[]*\[[^\]]*version='(?:1\.)?(\d+)",
    re.DOTALL,
)
_ENFORCER = re.compile(
    r"Detected JDK (?:Version: |version )(?:1\.)?(\d+)\S*.* is not in the allowed range ([^\s]+?)\.?$", re.M
)
_GRADLE_NEEDS = re.compile(r"Gradle requires JVM (\d+) or later to run")
_TOO_OLD = re.compile(
    r"Unsupported class file major version (\d+)|Could not determine java version from '(?:1\.)?(\d+)|"
    r"(Could not initialize class org\.codehaus\.groovy)"
)
_NO_JAVA = re.compile(
    r"JAVA_HOME (?:environment variable )?is (?:not (?:set|defined correctly)|set to an invalid directory)"
    r"|no 'java' command could be found|\bjava: (?:command )?not found"
)
"""As the start scripts of Maven 3.6 to 3.9 and of Gradle's wrapper word it, and a shell."""
_PROCESSOR = "Unable to make field private com.sun.tools.javac."
_GRADLE_FOR = {17: "7.3", 18: "7.5", 19: "7.6", 20: "8.3", 21: "8.5", 22: "8.8", 23: "8.10", 24: "8.14", 25: "9.1"}
"""The first Gradle that runs on a Java, by its compatibility matrix."""


def mismatch(said: str, here: int | None = None) -> str | None:
    """That it was the Java: which one is needed, which one is there, what to do. None when `said`, an error or the end
    of a log, is about something else. `here` is the Java that was used, where it is known."""
    there = f"the workers have Java {here}" if here else "the workers have an older one"
    if of_class := of_class_file(said):
        return of_class
    if match := _LIBRARY.search(said):
        needed, has = (int(part) - FIRST_CLASS_FILE for part in match.groups())
        return f"A library is for Java {needed}, and it is compiled for Java {has}: {_use(needed)}"
    if match := _LIBRARY_OF_GRADLE.search(said):
        return f"A library is for Java {match[1]}, and it is compiled with Java {match[2]}: {_use(int(match[1]))}"
    for match in _COMPILER.finditer(said):
        needed = int(next(filter(None, match.groups())))
        if here is None or not OLDEST <= needed <= here:  # a compiler of this Java takes those
            return _of_compiler(needed, there)
    if match := _TOOLCHAIN.search(said):
        needed = int(match[1] or match[2])
        return f"It asks for a toolchain of Java {needed}, and none is there ({there}). {_use(needed)}"
    if match := _ENFORCER.search(said):
        used = f"the workers have Java {match[1]}"
        return f"The project allows Java {match[2]} only, and {used}. Set JAVA_HOME of the workers."
    if match := _GRADLE_NEEDS.search(said):
        return f"Its Gradle needs Java {match[1]}, and {there}. {_use(int(match[1]))}"
    return _too_old(said, here)


def none_found(said: str) -> bool:
    """Whether a build tool's start script says that it has found no Java at all."""
    return _NO_JAVA.search(said) is not None


def of_class_file(said: str) -> str | None:
    """The same of a program that ran: of all these words a JVM's own about a class alone cannot be a program's."""
    match = _RUNTIME.search(said)
    if match is None:
        return None
    needed, has = (int(part) - FIRST_CLASS_FILE for part in match.groups())
    return (
        f"It was compiled for Java {needed}, and what runs it is Java {has}: compile it for Java {has} "
        f"(maven.compiler.release, or the toolchain of Gradle), or use a Java {needed}."
    )


def _of_compiler(needed: int, there: str) -> str:
    if needed < OLDEST:
        return f"It is to be compiled for Java {needed}, too old for the compiler. Set it to {OLDEST} or later."
    return f"It is to be compiled for Java {needed}, and {there}. {_use(needed)}"


def _too_old(said: str, here: int | None) -> str | None:
    if _PROCESSOR in said:
        of = f" of Java {here}" if here else ""
        return (
            f"An annotation processor (Lombok before 1.18.22, say) is too old for the compiler{of}: take a newer one, "
            "or use an older Java (JAVA_HOME of the workers)."
        )
    match = _TOO_OLD.search(said)
    if match is None:
        return None
    java = int(match[1]) - FIRST_CLASS_FILE if match[1] else int(match[2]) if match[2] else here
    if java is None:
        return None
    gradle = _GRADLE_FOR.get(java) if match[1] is None or "gradle" in said.lower() else None
    newer = f"set a Gradle of {gradle} or later in gradle/wrapper/gradle-wrapper.properties, or " if gradle else ""
    older = "use an older Java (JAVA_HOME of the workers)"
    return f"The build tool, or a plugin of it, is too old for Java {java}: {newer}{older}."


def _use(needed: int) -> str:
    return f"Set JAVA_HOME of the workers to a JDK {needed} or later, or build the program for an older Java."
