"""A throw-away node for real runtimes, and a plugin directory that remembers how it was called.

`Machine` is a process tree in namespaces of its own (network, mount, process, cgroup): whatever a runtime
does inside, it never reaches the machine the tests run on, and everything ends with the tree's first process.
`PluginDirectory` puts the plugin under test behind a recording script, under the type a configuration names.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from lab.plugin import REFERENCE_PLUGINS

PLUGIN_TYPE = "cni-harvester"
POD = "/run/netns/pod"  # a pod's network namespace, for the tests that have one
BASE_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}

# Starts the first process of a machine in namespaces and a cgroup of its own; removes the cgroups at its end.
SUPERVISOR = """
set -e
mount -t tmpfs tmpfs /run
mkdir /run/cgroup
mount -t cgroup2 cgroup2 /run/cgroup
group=/run/cgroup/cni-harvester-test-$$
mkdir "$group"
echo 0 >"$group/cgroup.procs"
unshare --net --mount --pid --cgroup --fork --kill-child sh -c "$1" || true
echo 0 >/run/cgroup/cgroup.procs
find "$group" -depth -type d -exec rmdir {} +
"""

# The first process of a machine: it prepares the mounts, prints its process id as the outside sees it, and lives
# until its standard input closes - which it does, too, when the test run is killed. `cat` is not exec'd: the
# shell has to reap the orphans that conmon and containerd's shim leave to it.
FIRST_PROCESS = """
set -e
read -r pid _ </proc/self/stat
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /dev/shm
for name in etc opt var/lib; do
    layer=/run/overlay/$name
    mkdir -p "$layer/upper" "$layer/work"
    mount -t overlay -o "lowerdir=/$name,upperdir=$layer/upper,workdir=$layer/work" overlay "/$name"
done
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /run/netns /run/lock
ip link set lo up
echo "$pid"
cat >/dev/null
exit 0
"""

# Keeps environment and standard input of every call, then becomes the plugin with the very same input.
RECORDER = """#!/bin/sh
call=$(/bin/mktemp -d "{calls}/$(/bin/date +%s%N)-XXXXXX")
/bin/cat /proc/$$/environ >"$call/environment"
/bin/cat >"$call/stdin"
exec "{plugin}" <"$call/stdin"
"""


@dataclass(frozen=True)
class Call:
    """One call of the plugin as the runtime made it."""

    environment: dict[str, str]
    stdin: bytes

    @property
    def verb(self) -> str:
        """The CNI command."""
        return self.environment["CNI_COMMAND"]

    @property
    def config(self) -> dict[str, Any]:
        """The network configuration on standard input."""
        config: dict[str, Any] = json.loads(self.stdin)
        return config


class PluginDirectory:
    """A CNI plugin directory: the reference plugins, and the one under test behind a recorder."""

    def __init__(self, path: Path, plugin: Path) -> None:
        self.path = path / "plugins"
        self.plugin = path / "under-test" / PLUGIN_TYPE
        self.calls = path / "calls"
        for directory in (self.path, self.plugin.parent, self.calls):
            directory.mkdir()
        for reference in Path(REFERENCE_PLUGINS).iterdir():
            (self.path / reference.name).symlink_to(reference)
        self.plugin.symlink_to(plugin)
        recorder = self.path / PLUGIN_TYPE
        recorder.write_text(RECORDER.format(calls=self.calls, plugin=self.plugin))
        recorder.chmod(0o755)

    def list_calls(self) -> list[Call]:
        """Return all calls so far, oldest first."""
        return [_read_call(path) for path in sorted(self.calls.iterdir())]

    def list_verbs(self) -> list[str]:
        """Return the verbs of all calls so far, oldest first."""
        return [call.verb for call in self.list_calls()]


def _read_call(path: Path) -> Call:
    words = (path / "environment").read_text().split("\0")
    environment = dict(word.split("=", 1) for word in words if "=" in word)
    return Call(environment, (path / "stdin").read_bytes())


class Machine:
    """A node made of namespaces. Use it as a context manager: leaving it ends every process inside."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[str]] = []
        self._supervisor: subprocess.Popen[str] | None = None
        self._pid = 0

    def __enter__(self) -> Self:
        """Start the first process and wait until its mounts are there."""
        self._supervisor = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", SUPERVISOR, "sh", FIRST_PROCESS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=BASE_ENVIRONMENT,
            text=True,
        )
        assert self._supervisor.stdout is not None
        answer = self._supervisor.stdout.readline().strip()
        if not answer:
            self.__exit__()
            raise AssertionError("cannot start the machine: its first process ended early (see its stderr)")
        self._pid = int(answer)
        return self

    def __exit__(self, *_: object) -> None:
        """End every process inside by ending the first one, and see the machine's cgroups removed."""
        assert self._supervisor is not None and self._supervisor.stdin is not None
        self._supervisor.stdin.close()
        for process in (self._supervisor, *self._processes):
            process.wait(20)
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
        assert self._supervisor.returncode == 0 or not self._pid, "cannot remove the machine's cgroups (see its stderr)"

    def _command(self, *command: str | Path, netns: str | None) -> list[str]:
        enter = ["nsenter", f"--target={self._pid}", "--mount", "--net", "--pid", "--cgroup", "--wd"]
        join = ["sh", "-c", 'echo 0 >/sys/fs/cgroup/cgroup.procs; exec "$@"', "sh"]
        inner = ["nsenter", f"--net=/run/netns/{netns}", "--"] if netns else []
        return [*enter, *join, *inner, *map(str, command)]

    def run(
        self,
        *command: str | Path,
        netns: str | None = None,
        env: dict[str, str] | None = None,
        stdin: str = "",
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end inside the machine, or inside one of its named network namespaces."""
        done = subprocess.run(
            self._command(*command, netns=netns),
            env=BASE_ENVIRONMENT | (env or {}),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if check and done.returncode:
            line = " ".join(map(str, command))
            raise AssertionError(f'"{line}": status {done.returncode}\n{done.stdout}{done.stderr}')
        return done

    def start(
        self,
        *command: str | Path,
        log: Path,
        netns: str | None = None,
        env: dict[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Start a command that runs until the machine ends; what it prints goes to `log`."""
        with log.open("w") as output:
            process = subprocess.Popen(
                self._command(*command, netns=netns),
                env=BASE_ENVIRONMENT | (env or {}),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self._processes.append(process)
        return process

    def ip(self, line: str, netns: str | None = None) -> None:
        """Run one `ip` command, given as one line."""
        self.run("ip", *line.split(), netns=netns)

    def create_namespace(self, name: str) -> str:
        """Create a named network namespace and return its path; it is gone with the machine."""
        self.ip(f"netns add {name}")
        return f"/run/netns/{name}"

    def list_links(self, netns: str | None = None) -> dict[str, dict[str, Any]]:
        """Return what `ip -details -json link` tells, by link name."""
        output = self.run("ip", "-details", "-json", "link", "show", netns=netns).stdout
        return {link["ifname"]: link for link in json.loads(output)}

    def identify_links(self) -> set[tuple[int, str, str, int]]:
        """Return index, name, address and MTU of all links: what must be as before once a pod is gone."""
        return {(link["ifindex"], link["ifname"], link["address"], link["mtu"]) for link in self.list_links().values()}


class Client:
    """A caller of cnitool: one network, one pod."""

    def __init__(self, program: Path, machine: Machine, plugins: PluginDirectory, networks: Path) -> None:
        self._program = program
        self._machine = machine
        self._environment = {"CNI_PATH": str(plugins.path), "NETCONFPATH": str(networks)}

    def call(self, verb: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `cnitool VERB lan` for the pod."""
        return self._machine.run(self._program, verb, "lan", POD, env=self._environment, check=check)

    def add(self) -> dict[str, Any]:
        """Run `cnitool add` and return the result."""
        result: dict[str, Any] = json.loads(self.call("add").stdout)
        return result


def create_bridge(machine: Machine, name: str = "cn1-br", options: str = "", mtu: int = 1500) -> None:
    """Create a bridge with a fixed address, so that ports coming and going do not change it."""
    machine.ip(f"link add {name} address 02:00:00:00:00:01 type bridge {options}")
    # A bridge keeps its MTU when a port with another one joins only if the MTU was once changed.
    machine.ip(f"link set {name} mtu {mtu - 1}")
    machine.ip(f"link set {name} mtu {mtu} up")


def write_network(directory: Path, name: str = "lan", cni_version: str = "1.0.0", **settings: Any) -> dict[str, Any]:
    """Write NAME.conflist with one plugin of the type under test; return that plugin's own configuration."""
    plugin = {"type": PLUGIN_TYPE, "bridge": "cn1-br", "ipam": {}, **settings}
    document = {"cniVersion": cni_version, "name": name, "plugins": [plugin]}
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.conflist").write_text(json.dumps(document))
    return {"cniVersion": cni_version, "name": name, **plugin}


def write_root_file_system(path: Path) -> Path:
    """Make a directory a container can run in: busybox and mount points."""
    for name in ("bin", "dev", "etc", "proc", "run", "sys", "tmp"):
        (path / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", path / "bin" / "busybox")
    for applet in ("ip", "ls", "ping", "sh", "sleep"):
        (path / "bin" / applet).symlink_to("busybox")
    return path


def wait_for_text(log: Path, text: str, timeout_s: float = 30) -> str:
    """Wait until a growing log holds `text`; return the whole log."""
    end = time.monotonic() + timeout_s
    while text not in (content := log.read_text(errors="replace")):
        if time.monotonic() > end:
            raise AssertionError(f'no "{text}" after {timeout_s} s in:\n{content}')
        time.sleep(0.05)
    return content
