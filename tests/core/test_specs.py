import pytest
from pydantic import TypeAdapter, ValidationError

from core.errors import InvalidInput
from core.specs import JobSpec, build_key, check_git_ref, check_git_url, check_inner_path

SPEC = TypeAdapter(JobSpec)
GIT = {"url": "https://git.example.com/a/b.git"}


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example.com/team/repo.git",
        "https://git.example.com:8443/team/repo",
        "ssh://git@git.example.com/team/repo.git",
        "ssh://git.example.com:22/repo",
        "git@git.example.com:team/repo.git",
        "/srv/git/repo",
        "file:///srv/git/repo",
    ],
)
def test_good_urls(url):
    assert check_git_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c touch% /tmp/x",
        "http://git.example.com/repo",
        "git://git.example.com/repo",
        "ftp://x/y",
        "--upload-pack=touch /tmp/x",
        "-oProxyCommand=x",
        "ssh://-oProxyCommand=touch/x",
        "git@-oProxyCommand:repo",
        "git@host:-x",
        "git@host:/-x",
        "https://user:token@git.example.com/repo",
        "https://token@git.example.com/repo",
        "file://host/repo",
        "relative/path",
        "../up",
        "/srv/../etc",
        "file:///srv/../etc",
        "https://git.example.com/repo\n--upload-pack=x",
        "https://git.example.com/a%0ab",
        "fd::17/foo",
        "",
        "https://",
        "x" * 3000,
    ],
)
def test_bad_urls(url):
    with pytest.raises(ValueError):
        check_git_url(url)


@pytest.mark.parametrize("ref", ["main", "v1.2.3", "feature/x-1", "a" * 40, "release_1", "HEAD"])
def test_good_refs(ref):
    assert check_git_ref(ref) == ref


@pytest.mark.parametrize(
    "ref",
    ["", "-x", "--upload-pack=x", "a..b", "a b", "a~1", "a^", "a:b", "x.lock", "@{u}", "a\nb", "/a", "a/", "a//b", "*"],
)
def test_bad_refs(ref):
    with pytest.raises(ValueError):
        check_git_ref(ref)


@pytest.mark.parametrize("path", ["/etc", "../x", "a/../../b", "~/x", "-x", "", "a\\b", "a\nb", ".."])
def test_paths_that_lead_out(path):
    with pytest.raises(ValueError):
        check_inner_path(path)


@pytest.mark.parametrize(
    "spec",
    [
        {"type": "sql", "sql": "INSERT INTO a SELECT 1"},
        {"type": "jar", "git": GIT},
        {"type": "jar", "git": GIT, "build": {"tool": "maven", "profiles": ["a"], "properties": {"k.v": "1"}}},
        {"type": "jar", "git": GIT, "build": {"tasks": ["shadowJar", ":jobs:clicks:fat-jar"]}},
        {"type": "jar", "git": GIT, "build": {"tool": "gradle", "properties": {"flink.version": "2.3.0"}}},
        {"type": "pyflink", "git": GIT, "entry_file": "a/b.py", "requirements": "requirements.txt"},
        {
            "type": "pyflink",
            "git": GIT,
            "module": "a.b",
            "requirements": ["numpy==2.1.0", "x[y]>=1; python_version>'3'"],
        },
    ],
)
def test_good_specs(spec):
    assert SPEC.validate_python(spec).type == spec["type"]


@pytest.mark.parametrize(
    "spec",
    [
        {"type": "sql"},
        {"type": "sql", "sql": "x", "surprise": 1},
        {"type": "exe"},
        {"type": "jar", "git": GIT, "build": {"tool": "sbt"}},
        {"type": "jar", "git": GIT, "build": {"tool": "gradle", "profiles": ["a"]}},
        {"type": "jar", "git": GIT, "build": {"tool": "maven", "tasks": ["a"]}},
        {"type": "jar", "git": GIT, "build": {"tasks": ["--init-script=x"]}},
        {"type": "jar", "git": GIT, "build": {"tasks": ["a b"]}},
        {"type": "jar", "git": GIT, "build": {"tasks": ["a"] * 21}},
        {"type": "jar", "git": GIT, "build": {"profiles": ["-x y"]}},
        {"type": "jar", "git": GIT, "build": {"profiles": ["a,-Dx=y"]}},
        {"type": "jar", "git": GIT, "build": {"properties": {"a b": "c"}}},
        {"type": "jar", "git": GIT, "build": {"properties": {"a": "b\nc"}}},
        {"type": "jar", "git": GIT, "build": {"artifact": "../../x.jar"}},
        {"type": "jar", "git": GIT, "entry_class": "a;b"},
        {"type": "jar", "git": GIT, "args": ["a\0b"]},
        {"type": "jar", "git": GIT, "parallelism": 0},
        {"type": "jar", "git": GIT, "config": {"pipeline.name": "x"}},
        {"type": "pyflink", "git": GIT},
        {"type": "pyflink", "git": GIT, "entry_file": "a.py", "module": "a"},
        {"type": "pyflink", "git": GIT, "entry_file": "../a.py"},
        {"type": "pyflink", "git": GIT, "entry_file": "a.sh"},
        {"type": "pyflink", "git": GIT, "entry_file": "a.py", "requirements": ["--index-url=x"]},
        {"type": "pyflink", "git": GIT, "entry_file": "a.py", "requirements": ["x\n--index-url=y"]},
    ],
)
def test_bad_specs(spec):
    with pytest.raises((ValidationError, InvalidInput)):
        SPEC.validate_python(spec)


def test_a_build_depends_on_commit_and_settings_only():
    one = SPEC.validate_python({"type": "jar", "git": GIT, "args": ["a"], "entry_class": "A"})
    two = SPEC.validate_python({"type": "jar", "git": GIT, "args": ["b"], "entry_class": "B"})
    other = SPEC.validate_python({"type": "jar", "git": GIT, "build": {"profiles": ["p"]}})
    assert build_key(one, "c") == build_key(two, "c")
    assert len({build_key(one, "c"), build_key(one, "d"), build_key(other, "c")}) == 3


PYTHON = {"type": "pyflink", "git": GIT, "entry_file": "job.py"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"env": {"FLINK_CONF_DIR": "/x"}}, "FLINK_CONF_DIR"),
        ({"env": {"PYTHONPATH": "/x"}}, "PYTHONPATH"),
        *(({"env": {name: "-Dx=y"}}, f"{name} changes how") for name in ("_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS")),
        *(({"env": {name: "x"}}, f"{name} changes how") for name in ("JDK_JAVA_OPTIONS", "CLASSPATH", "LD_PRELOAD")),
        *(({"env": {name: "x"}}, f"{name} changes how") for name in ("PYTHONSTARTUP", "PYTHONUSERBASE")),
        ({"env": {"1A": "x"}}, "pattern"),
        ({"env": {"A": "x\x00"}}, "pattern"),
        ({"files": {"../x": ""}}, "leads out"),
        ({"files": {"/etc/passwd": ""}}, "relative path"),
        ({"files": {"a//b": ""}}, "plain relative path"),
        ({"files": {"a": "", "a/b": ""}}, "a file and the folder"),
        ({"files": {"job.py": ""}}, "entry_file"),
        ({"files": {f"f{n}": "x" * 60_000 for n in range(5)}}, "larger than 256 KB"),
        ({"java_properties": {"a b": "x"}}, "pattern"),
        ({"java_properties": {"a": "x\n-Dy"}}, "pattern"),
        ({"libraries": [{"name": "../x", "version": "1"}]}, "name"),
        ({"type": "jar", "entry_file": None, "env": {"A": "x"}}, "runs in the JobManager"),
    ],
)
def test_what_a_program_cannot_be_given(change: dict, says: str):
    spec = {key: value for key, value in {**PYTHON, **change}.items() if value is not None}
    with pytest.raises(ValidationError, match=says):
        SPEC.validate_python(spec)


@pytest.mark.parametrize("field", ["env", "files", "java_properties"])
def test_a_jar_has_no_process_of_its_own(field: str):
    with pytest.raises(ValidationError, match=r"cannot be given to a jar: .*JobManager"):
        SPEC.validate_python({"type": "jar", "git": GIT, field: {"a": "b"}})


def test_what_is_not_given_changes_neither_rows_nor_builds():
    plain = SPEC.validate_python(PYTHON)
    assert not {"env", "files", "java_properties", "libraries"} & plain.model_dump(mode="json").keys()
    given = {"env": {"A": "x"}, "files": {"c.txt": "x"}, "libraries": [{"name": "kafka", "version": "1"}]}
    full = SPEC.validate_python({**PYTHON, **given})
    assert full.model_dump(mode="json").items() >= given.items()
    assert build_key(plain, "c") == build_key(full, "c")
    assert "libraries" not in SPEC.validate_python({"type": "jar", "git": GIT}).model_dump(mode="json")
