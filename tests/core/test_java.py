"""Which Java is needed, from what tools say."""

from __future__ import annotations

import pytest

from core.java import mismatch, of_class_file

HERE = 17


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            "java.lang.UnsupportedClassVersionError: com/acme/Main has been compiled by a more recent version of the Java "
            "Runtime (class file version 65.0), this version of the Java Runtime only recognizes class file versions up "
            "to 61.0",
            "compiled for Java 21, and what runs it is Java 17",
        ),
        (
            "class file has wrong version 65.0, should be 61.0",
            "A library is for Java 21, and it is compiled for Java 17",
        ),
        ("Fatal error compiling: error: invalid target release: 21", "for Java 21, and the workers have Java 17"),
        ("Fatal error compiling: error: release version 21 not supported", "for Java 21, and the workers have Java 17"),
        ("error: invalid source release: 1.5", "for Java 5, too old for the compiler"),
        (
            "error: Source option 6 is no longer supported. Use 7 or later.",
            "for Java 6, too old for the compiler",
        ),
        (
            "Cannot find matching toolchain definitions for the following toolchain types:\njdk [ version='21' ]",
            "a toolchain of Java 21, and none is there",
        ),
        (
            "> Cannot find a Java installation on your machine matching this tasks requirements: {languageVersion=21, "
            "vendor=any, implementation=vendor-specific} for LINUX on x86_64.",
            "a toolchain of Java 21, and none is there",
        ),
        ("No matching toolchains found for requested specification: {languageVersion=11, ", "a toolchain of Java 11"),
        (
            "Detected JDK version 17.0.15 (JAVA_HOME=/opt/java) is not in the allowed range [21,).",
            "allows Java [21,) only, and the workers have Java 17",
        ),
        ("Gradle requires JVM 21 or later to run. Your build is currently", "Its Gradle needs Java 21"),
        (
            "Dependency requires at least JVM runtime version 21. This build uses a Java 17 JVM.",
            "A library is for Java 21, and it is compiled with Java 17",
        ),
        ("Unsupported class file major version 61, see https://help.gradle.org", "set a Gradle of 7.3"),
        ("maven-shade-plugin: Unsupported class file major version 61", "too old for Java 17: use an older Java"),
        (
            "ExceptionInInitializerError: Unable to make field private com.sun.tools.javac.processing.X accessible",
            "Lombok before 1.18.22, say) is too old for the compiler of Java 17",
        ),
        ("Could not determine java version from '17.0.15'.", "too old for Java 17: set a Gradle of 7.3"),
        ("Could not initialize class org.codehaus.groovy.runtime.InvokerHelper", "too old for Java 17"),
    ],
)
def test_what_is_needed_and_what_is_there(said: str, words: str):
    assert words in str(mismatch(said, HERE))


@pytest.mark.parametrize(
    "said",
    [
        "",
        "cannot find symbol",
        "release version",
        "Could not find artifact x:y:jar:21",
        "java.lang.NoSuchMethodError: x",
        "unknown release version 1 in header",
        "error: release version 11 not supported by this plugin of ours",
        "invalid target release: 1.8",
        "Source option 42 of this program is not known",
    ],
)
def test_what_is_no_matter_of_java(said: str):
    assert mismatch(said, HERE) is None


def test_of_several_versions_the_one_that_is_not_there():
    said = "error: release version 11 not supported\nerror: release version 21 not supported"
    assert "for Java 21, and the workers have Java 17" in str(mismatch(said, HERE))


def test_of_a_program_only_the_words_of_a_jvm_about_a_class_count():
    said = (
        "has been compiled by a more recent version of the Java Runtime (class file version 65.0), this version of the"
    )
    said += " Java Runtime only recognizes class file versions up to 61.0"
    assert of_class_file(said) == mismatch(said, HERE)
    assert of_class_file("error: release version 21 not supported") is None
