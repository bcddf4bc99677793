"""Delegation to IPAM plugins, which are real programs here."""

import os
from pathlib import Path

import pytest

from cni_harvester.cni import delegate as module
from cni_harvester.cni.delegate import clean_environment, delegate, find_plugin
from cni_harvester.cni.request import Call, Request
from cni_harvester.errors import DecodeFailed, DelegateFailed, FeatureMissing, HarvesterError, TryAgainLater

RECORD = 'cat > "$RECORD/stdin"; env -0 > "$RECORD/environment"\n'
STDIN = b'{ "name":"n",\n  "cniVersion":"1.1.0","ipam":{"type":"test-ipam"},"x":"\\u00e9 \xc3\xa9" }\n'


def write_plugin(directory: Path, script: str, name: str = "test-ipam") -> Path:
    """Write a plugin that is a shell script."""
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}")
    path.chmod(0o755)
    return path


def make_call(directory: Path, stdin: bytes = STDIN, **variables: str) -> Call:
    """Make the call of an ADD whose plugins are in a directory."""
    environment = {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": "c-1",
        "CNI_NETNS": "/run/netns/pod-1",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": str(directory),
        "PATH": "/usr/bin:/bin",
        "RECORD": str(directory),
    }
    return Call("ADD", "n", "1.1.0", {}, Request(environment | variables, stdin))


def fail(directory: Path, script: str, command: str = "ADD") -> HarvesterError:
    """Return the error of a plugin that fails."""
    write_plugin(directory, script)
    with pytest.raises(HarvesterError) as caught:
        delegate(make_call(directory), "test-ipam", command)
    return caught.value


def read_environment(directory: Path) -> dict[str, str]:
    """Return the environment that the plugin recorded, less what its shell added."""
    entries = (directory / "environment").read_bytes().decode(errors="surrogateescape").split("\0")[:-1]
    return {key: value for key, _, value in (entry.partition("=") for entry in entries) if key not in {"PWD", "_"}}


# --- what a plugin gets --------------------------------------------------------------------------------------------


def test_plugin_gets_the_very_bytes_that_we_got(tmp_path: Path) -> None:
    """Standard input is passed on unchanged, white space and escapes included."""
    write_plugin(tmp_path, RECORD + "echo '{}'")
    assert delegate(make_call(tmp_path), "test-ipam", "ADD") == {}
    assert (tmp_path / "stdin").read_bytes() == STDIN


def test_plugin_gets_our_environment_with_its_own_command(tmp_path: Path) -> None:
    """CNI_COMMAND is the delegated verb; all other variables, foreign ones too, are ours (row L-21)."""
    write_plugin(tmp_path, RECORD)
    call = make_call(tmp_path, CNI_ARGS="IgnoreUnknown=1;K=V", TRACEPARENT="00-aa-bb-01", LATIN="\udce9", EMPTY="")
    ours = dict(call.request.environment)
    os.environ["ONLY_IN_THE_TEST_PROCESS"] = "1"
    try:
        assert delegate(call, "test-ipam", "DEL") is None
    finally:
        del os.environ["ONLY_IN_THE_TEST_PROCESS"]
    assert read_environment(tmp_path) == ours | {"CNI_COMMAND": "DEL"}
    assert call.request.environment == ours


def test_plugin_gets_the_library_path_from_before_pyinstaller(tmp_path: Path) -> None:
    """What PyInstaller's bootloader set for our own libraries must not reach another program."""
    write_plugin(tmp_path, RECORD)
    call = make_call(
        tmp_path,
        LD_LIBRARY_PATH="/opt/cni/bin/_internal",
        LD_LIBRARY_PATH_ORIG="/opt/lib",
        _PYI_ARCHIVE_FILE="/opt/cni/bin/cni-harvester",
        _PYI_APPLICATION_HOME_DIR="/opt/cni/bin/_internal",
        _PYI_PARENT_PROCESS_LEVEL="1",
        _MEIPASS2="/opt/cni/bin/_internal",
    )
    delegate(call, "test-ipam", "ADD")
    found = read_environment(tmp_path)
    assert found["LD_LIBRARY_PATH"] == "/opt/lib"
    assert [key for key in found if key.startswith(("_PYI", "_MEI")) or key.endswith("_ORIG")] == []


@pytest.mark.parametrize(
    ("environment", "clean"),
    [
        ({}, {}),
        ({"A": "1", "LD_LIBRARY_PATH": "/opt/lib"}, {"A": "1", "LD_LIBRARY_PATH": "/opt/lib"}),
        ({"LD_LIBRARY_PATH": "/ours", "LD_LIBRARY_PATH_ORIG": ""}, {"LD_LIBRARY_PATH": ""}),
        ({"LD_LIBRARY_PATH_ORIG": "/opt/lib"}, {"LD_LIBRARY_PATH": "/opt/lib"}),
        ({"_PYI_X": "1", "_MEIPASS2": "/x", "PYI_X": "2", "X_PYI_": "3"}, {"PYI_X": "2", "X_PYI_": "3"}),
    ],
)
def test_environment_is_cleaned_of_nothing_but_pyinstaller(environment: dict[str, str], clean: dict[str, str]) -> None:
    """A library path that somebody else set stays; the environment that was given is not changed."""
    before = dict(environment)
    assert clean_environment(environment) == clean
    assert environment == before


def test_plugin_that_does_not_read_its_input_is_not_our_failure(tmp_path: Path) -> None:
    """A plugin may end without reading, however much there is to read."""
    write_plugin(tmp_path, "exec echo '{}'")
    assert delegate(make_call(tmp_path, b" " * 1_000_000), "test-ipam", "ADD") == {}


# --- what a plugin answers -----------------------------------------------------------------------------------------


def test_plugin_that_prints_a_document_has_it_returned(tmp_path: Path) -> None:
    """The result comes back as it was printed."""
    write_plugin(tmp_path, """echo ' { "cniVersion": "1.0.0", "ips": [ {"address": "192.0.2.5/24"} ] } '""")
    answer = delegate(make_call(tmp_path), "test-ipam", "ADD")
    assert answer == {"cniVersion": "1.0.0", "ips": [{"address": "192.0.2.5/24"}]}


@pytest.mark.parametrize("script", ["", "echo", "printf ' \\n\\t '"])
def test_plugin_that_prints_nothing_has_no_answer(tmp_path: Path, script: str) -> None:
    """DEL, CHECK, GC and STATUS print nothing on success."""
    write_plugin(tmp_path, script)
    assert delegate(make_call(tmp_path), "test-ipam", "DEL") is None


@pytest.mark.parametrize("output", ["garbage", "[]", "{} {}", "5", '{"a":NaN}', "{", "\\377"])
def test_plugin_that_succeeds_with_garbage_is_refused(tmp_path: Path, output: str) -> None:
    """A success that is no JSON object cannot be decoded (code 6)."""
    error = fail(tmp_path, f"printf '{output}'")
    assert type(error) is DecodeFailed
    assert error.msg.startswith('error decoding what IPAM plugin "test-ipam" printed: ')


@pytest.mark.parametrize(
    ("document", "code", "msg", "details"),
    [
        ('{"cniVersion":"1.1.0","code":11,"msg":"no lease","details":"pool is full"}', 11, "no lease", "pool is full"),
        ('{"code":999,"msg":"broken"}', 999, "broken", ""),
        ('{"code":3,"msg":"gone","details":null,"x":[]}', 3, "gone", ""),
        ('{"code":7,"msg":""}', 7, "", ""),
        ('\\n  {\\n    "code": 100,\\n    "msg": "a"\\n}', 100, "a", ""),
    ],
)
def test_plugin_that_fails_with_an_error_has_it_passed_on(
    tmp_path: Path, document: str, code: int, msg: str, details: str
) -> None:
    """Code, message and details are the plugin's own, so that a person sees who failed and a runtime what to do."""
    error = fail(tmp_path, f"printf '{document}'; exit 1")
    assert type(error) is DelegateFailed
    assert (error.code, error.msg, error.details) == (code, msg, details)
    assert error.retryable == (code == 11)


@pytest.mark.parametrize(
    "output",
    [
        *("", "panic: nil pointer", "[]", "5", "null", '"text"', "{", "\\377"),
        *("{}", '{"code":5}', '{"msg":"m"}', '{"code":0,"msg":"m"}', '{"code":-5,"msg":"m"}'),
        *('{"code":"5","msg":"m"}', '{"code":5.5,"msg":"m"}', '{"code":null,"msg":"m"}', '{"code":true,"msg":"m"}'),
        *('{"code":5,"msg":5}', '{"code":5,"msg":"m","details":[1]}'),
    ],
)
def test_plugin_that_fails_without_an_error_has_code_113(tmp_path: Path, output: str) -> None:
    """What is no error document is shown, with the exit status, under a code of ours."""
    error = fail(tmp_path, f"printf '{output}'; exit 3", "CHECK")
    assert type(error) is DelegateFailed
    assert error.code == 113
    assert error.msg == 'cannot run IPAM plugin "test-ipam" CHECK: exit status 3 without an error document'
    assert error.details == output.replace("\\377", "\ufffd")


def test_plugin_that_fails_with_much_garbage_has_its_beginning_shown(tmp_path: Path) -> None:
    """Details stay readable."""
    assert fail(tmp_path, "yes | head -c 100000; exit 1").details == "\n".join("y" * 128)[:256] + "\n"


@pytest.mark.parametrize(("name", "number"), [("KILL", 9), ("TERM", 15), ("SEGV", 11)])
def test_plugin_that_is_killed_has_its_signal_named(tmp_path: Path, name: str, number: int) -> None:
    """A plugin that ends by a signal says nothing itself."""
    error = fail(tmp_path, f"ulimit -c 0; kill -{name} $$")
    assert type(error) is DelegateFailed
    assert (error.code, error.msg) == (113, f'cannot run IPAM plugin "test-ipam" ADD: it was ended by signal {number}')


def test_plugin_that_writes_to_stderr_is_heard(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What a plugin logs goes to our standard error, and not into its answer."""
    write_plugin(tmp_path, "echo 'looking for a lease' >&2; echo '{}'")
    assert delegate(make_call(tmp_path), "test-ipam", "ADD") == {}
    assert capfd.readouterr() == ("", "looking for a lease\n")


def test_plugin_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin that hangs is ended after its time, and the runtime told to try again (code 11)."""
    monkeypatch.setitem(module._TIMEOUT_S, "ADD", 0.3)
    error = fail(tmp_path, 'echo $$ > "$RECORD/pid"; exec sleep 60')
    assert type(error) is TryAgainLater
    assert error.msg == 'cannot run IPAM plugin "test-ipam" ADD: no end within 0.3 s'
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


# --- programs that cannot be run -----------------------------------------------------------------------------------


def test_plugin_that_is_missing_is_named_with_the_path(tmp_path: Path) -> None:
    """A person reads which program to install, and where."""
    with pytest.raises(FeatureMissing) as caught:
        delegate(make_call(tmp_path, CNI_PATH="/nonexistent:/opt/none"), "test-ipam", "ADD")
    assert caught.value.msg == 'cannot find IPAM plugin "test-ipam": it is in no directory of CNI_PATH'
    assert "'/nonexistent:/opt/none'" in caught.value.details


def test_plugin_that_is_not_executable_is_refused(tmp_path: Path) -> None:
    """The kernel's reason and the file are named."""
    path = write_plugin(tmp_path, "")
    path.chmod(0o644)
    with pytest.raises(FeatureMissing) as caught:
        delegate(make_call(tmp_path), "test-ipam", "ADD")
    assert caught.value.msg == 'cannot run IPAM plugin "test-ipam": Permission denied'
    assert caught.value.details == f"the program is {path}"


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"\x7fELF nonsense", "Exec format error"), (b"#!/nonexistent/shell\n", "No such file or directory")],
)
def test_plugin_that_is_no_program_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    """A file that the kernel cannot run is a missing feature of the node (code 105)."""
    path = write_plugin(tmp_path, "")
    path.write_bytes(content)
    with pytest.raises(FeatureMissing) as caught:
        delegate(make_call(tmp_path), "test-ipam", "ADD")
    assert caught.value.msg == f'cannot run IPAM plugin "test-ipam": {reason}'


def test_plugin_is_the_first_file_of_its_name_on_the_path(tmp_path: Path) -> None:
    """Directories of that name, missing directories, files and dangling links are skipped; links are followed."""
    for name in ("directory", "dangling", "link", "later"):
        (tmp_path / name).mkdir()
    (tmp_path / "directory" / "test-ipam").mkdir()
    (tmp_path / "dangling" / "test-ipam").symlink_to("nowhere")
    program = write_plugin(tmp_path / "later", "")
    (tmp_path / "link" / "test-ipam").symlink_to(program)
    (tmp_path / "file").write_text("")
    path = [str(tmp_path / name) for name in ("none", "file", "directory", "dangling", "link", "later")]
    assert find_plugin("test-ipam", path) == str(tmp_path / "link" / "test-ipam")
    assert find_plugin("test-ipam", path[-1:]) == str(program)


@pytest.mark.parametrize(
    "name", ["", "test-ipam", pytest.param("x" * 300, id="300 bytes"), pytest.param("x" * 5000, id="5000 bytes")]
)
def test_plugin_of_a_name_that_no_file_has_is_not_found(tmp_path: Path, name: str) -> None:
    """A name that no file has, or could have, is a missing program like any other."""
    for path in ([], [str(tmp_path)]):
        with pytest.raises(FeatureMissing):
            find_plugin(name, path)


def test_plugin_path_with_an_impossible_directory_is_searched_on(tmp_path: Path) -> None:
    """A directory that cannot exist is skipped like one that does not."""
    program = write_plugin(tmp_path, "")
    assert find_plugin("test-ipam", ["/" + "x" * 300, "/a\0b", str(tmp_path)]) == str(program)
