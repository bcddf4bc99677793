"""Leases, grants and calls for the tests of this folder."""

import dataclasses
import json
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

from cni_harvester.cni.request import Call, Request
from cni_harvester.ipam.lease import Lease
from cni_harvester.model.attachment import Attachment

INFINITE_S = 0xFFFFFFFF
MAC = "02:00:00:00:00:05"
SERVER, SERVER_MAC = IPv4Address("192.0.2.1"), "02:00:00:00:00:01"
ADDRESS, OTHER_ADDRESS = IPv4Interface("192.0.2.77/24"), IPv4Interface("192.0.2.78/24")
DEFAULT = IPv4Network("0.0.0.0/0")
OBTAINED_S = 5000.0
"""When the leases of the tests begin, on the clock of `now_s`."""

LEASE = Lease(
    attachment=Attachment("net", "c-1", "eth0"),
    netns="/run/netns/pod-1",
    mac=MAC,
    client_id=b"",
    address=ADDRESS,
    routes=((DEFAULT, SERVER), (IPv4Network("198.51.100.0/24"), None)),
    server=SERVER,
    server_mac=SERVER_MAC,
    obtained_s=OBTAINED_S,
    lease_s=1000,
    t1_s=500,
    t2_s=875,
)
"""Renewed from 5500 on, rebound from 5875 on, at its end at 6000."""


def make(**changes: Any) -> Lease:
    """Make a lease that differs in some values."""
    return dataclasses.replace(LEASE, **changes)


def make_for(container_id: str, **changes: Any) -> Lease:
    """Make the lease of another container."""
    return make(attachment=Attachment("net", container_id, "eth0"), **changes)


def make_call(command: str, ipam: object, *, attachment: Attachment = LEASE.attachment, **keys: Any) -> Call:
    """Make a call of a main plugin's, with an `ipam` object and more keys of the configuration."""
    config = {"cniVersion": "1.1.0", "name": attachment.network, "type": "macvlan", "ipam": ipam, **keys}
    environment = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": attachment.container_id,
        "CNI_IFNAME": attachment.ifname,
        "CNI_NETNS": "/nonexistent/netns",
        "CNI_PATH": "/nonexistent/bin",
    }
    request = Request(environment, json.dumps(config).encode())
    return Call(command, attachment.network, "1.1.0", config, request)
