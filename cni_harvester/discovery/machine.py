"""A machine for the time of a probe: a network namespace of its own, attached by the same code as any other.

It leaves nothing behind. Its namespace has no name, so the kernel removes it, and the attachment with it, when our
process ends, however that happens; the VLAN on the uplink is taken off by a DEL that waits for our end.
"""

import contextlib
import errno as errnos
import hashlib
import json
import os
import platform
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cni_harvester.attach import handle
from cni_harvester.cni.delegate import clean_environment
from cni_harvester.cni.request import Request, Response
from cni_harvester.errors import DelegateFailed, HarvesterError, NotReady, TryAgainLater
from cni_harvester.kernel import links, namespaces, sysctl
from cni_harvester.kernel.handle import Handle, log_change
from cni_harvester.kernel.namespaces import Namespace
from cni_harvester.model.mac import derive_mac

_INTERFACE = "eth0"
_NETWORK = "cni-harvester.probe"
_BUSY_TIMEOUT_S, _BUSY_POLL_S = 10.0, 0.1
_GUARD_TIMEOUT_S = 30


@dataclass(frozen=True)
class Place:
    """Where a machine stands: a bridge, and its VLAN there; 0 is the untagged network."""

    bridge: str
    vlan: int

    def __str__(self) -> str:
        """In the field's words, for messages: `VLAN 100 of cn1-br`."""
        return f"{f'VLAN {self.vlan}' if self.vlan else 'the untagged network'} of {self.bridge}"


@dataclass(frozen=True)
class Machine:
    """A machine on the network: its namespace, and its only interface, which is up and has no address."""

    namespace: Namespace
    interface: str
    mac: str
    mtu: int


@contextlib.contextmanager
def join_network(place: Place, *, busy_timeout_s: float = _BUSY_TIMEOUT_S) -> Iterator[Machine]:
    """Attach a machine for the time of a `with` block.

    Its MAC is the same each time on one node, so that a DHCP server keeps offering the same address and does not run
    out of them.

    Args:
        place: the network.
        busy_timeout_s: how long to wait while another probe of this network runs.

    Raises:
        NotReady: the bridge is down; a probe sets nothing up.
        TryAgainLater: another probe of this network runs, and does not end.
        HarvesterError: the attachment failed, as an ADD of such a machine would.
    """
    _require_up(place)
    mac = _derive_probe_mac(place)
    with _claim(place, busy_timeout_s), _make_namespace() as namespace:
        request = _make_request(place, mac, namespace)
        with _delete_at_our_end(request):
            result = _attach(place, request)
            yield Machine(namespace, _INTERFACE, mac, int(result["interfaces"][2]["mtu"]))


def _require_up(place: Place) -> None:
    with Handle() as host:
        bridge = links.find_link(host, place.bridge)
    if bridge and not bridge.up:
        raise NotReady(f"cannot probe {place}: the bridge is down", f"ip link set {place.bridge} up")


def _derive_probe_mac(place: Place) -> str:
    machine_id = Path("/etc/machine-id")
    node = machine_id.read_text().strip() if machine_id.exists() else platform.node()
    return derive_mac(hashlib.sha256(f"probe {node} {place.bridge} {place.vlan}".encode()).digest()[:6])


@contextlib.contextmanager
def _claim(place: Place, timeout_s: float) -> Iterator[None]:
    """Be the only one that probes a network from this node; wait while somebody else does.

    The claim is a socket address in the kernel, which is free again when its holder ends, however that happens.
    """
    give_up_s = time.monotonic() + timeout_s
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as claim:
        while True:
            try:
                claim.bind(f"\0{_NETWORK}/{place.bridge}/{place.vlan}")
                break
            except OSError as e:
                if e.errno != errnos.EADDRINUSE:
                    raise
            if time.monotonic() > give_up_s:
                message = f"cannot probe {place}: another probe of it is running"
                raise TryAgainLater(message, f"waited {timeout_s:g} s for its end")
            time.sleep(_BUSY_POLL_S)
        yield


@contextlib.contextmanager
def _make_namespace() -> Iterator[Namespace]:
    """Make a namespace that only a descriptor of ours holds; IPv6 in it is silent until somebody asks."""
    fd = namespaces.create_unnamed()
    try:
        namespace = Namespace(fd, f"/proc/{os.getpid()}/fd/{fd}")
        namespaces.run_in(namespace, lambda: sysctl.set_interface("ipv6", "all", "disable_ipv6", 1, trace=log_change))
        namespaces.run_in(
            namespace, lambda: sysctl.set_interface("ipv6", "default", "disable_ipv6", 1, trace=log_change)
        )
        yield namespace
    finally:
        os.close(fd)


def _make_request(place: Place, mac: str, namespace: Namespace) -> Request:
    config = {
        "cniVersion": "1.1.0",
        "name": _NETWORK,
        "type": "cni-harvester",
        "bridge": place.bridge,
        "vlan": place.vlan,
        "runtimeConfig": {"mac": mac},
    }
    # Unique, so that the DEL of a probe that was killed cannot hit the next one's machine.
    bridge = re.sub(r"[^A-Za-z0-9_.-]", "_", place.bridge)
    container_id = f"probe.{bridge}.{place.vlan}.{secrets.token_hex(4)}"
    environment = {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": container_id,
        "CNI_NETNS": namespace.path,
        "CNI_IFNAME": _INTERFACE,
        "CNI_PATH": "/nonexistent",  # no IPAM plugin takes part
    }
    return Request(environment, json.dumps(config).encode())


def _attach(place: Place, request: Request) -> dict[str, Any]:
    """ADD; return the result document."""
    response = handle(request)
    document = json.loads(response.stdout)
    if response.exit_status:
        raise _as_error(place, document, response)
    return dict(document)


def _as_error(place: Place, document: dict[str, Any], response: Response) -> HarvesterError:
    """Make an error of ADD's error document, codes and words kept."""
    details = document.get("details", "") or response.stderr
    return DelegateFailed(f"cannot probe {place}: {document['msg']}", details, code=int(document["code"]))


@contextlib.contextmanager
def _delete_at_our_end(request: Request) -> Iterator[None]:
    """Run the attachment's DEL when the block ends; when our process is killed before, another one does it.

    That other one is this program's own DEL, started now: it waits for the end of its standard input, which the kernel
    closes with our process.
    """
    environment = {**request.environment, "CNI_COMMAND": "DEL", "CNI_NETNS": ""}
    program = [sys.executable] if getattr(sys, "frozen", False) else [sys.executable, "-m", "cni_harvester"]
    stdin, held_open = os.pipe()
    with open(held_open, "wb", buffering=0) as pipe:  # noqa: PTH123 - a descriptor
        guard = subprocess.Popen(  # noqa: S603 - our own program
            program,
            env=clean_environment(dict(os.environ)) | environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us
        )
        os.close(stdin)
        pipe.write(request.stdin)
        try:
            yield
        finally:
            response = handle(Request(environment, request.stdin))
            if response.exit_status == 0:
                guard.kill()  # it has done nothing yet but read
            pipe.close()
            _end_guard(guard, response)


def _end_guard(guard: subprocess.Popen[bytes], response: Response) -> None:
    """Wait for the waiting DEL, which had to try as well if ours was not successful; report if both failed."""
    stdout, _ = guard.communicate(timeout=_GUARD_TIMEOUT_S)
    if response.exit_status and guard.returncode:
        document = json.loads(stdout or response.stdout)
        message = f"cannot take the probe's machine away: {document['msg']}"
        raise DelegateFailed(message, document.get("details", ""), code=int(document["code"]))
