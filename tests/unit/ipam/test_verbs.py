"""The verbs of the IPAM plugin, as far as they need no network: what they make of the files."""

import json
from pathlib import Path
from typing import Any

import pytest

from cni_harvester import ipam
from cni_harvester.attach import handle
from cni_harvester.cni.request import Request
from cni_harvester.errors import DecodeFailed, InvalidNetworkConfig, UnknownContainer, VerificationFailed
from cni_harvester.ipam import lease as store
from cni_harvester.ipam.lease import now_s
from cni_harvester.kernel.handle import log_change
from cni_harvester.model.attachment import Attachment

from .samples import INFINITE_S, LEASE, make, make_call, make_for

OURS = {"type": "cni-harvester", "mode": "dhcp"}
VALID_KEY = "cni.dev/valid-attachments"

pytestmark = pytest.mark.usefixtures("directory")


def run(command: str, **keys: Any) -> None:
    """Run a verb of ours for the attachment of `samples`."""
    ipam.run_plugin(make_call(command, OURS, **keys), "cni-harvester", command, trace=log_change)


def previous(*addresses: str) -> dict[str, Any]:
    """Make the result of an ADD."""
    return {"cniVersion": "1.1.0", "ips": [{"address": address} for address in addresses]}


# --- CHECK ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param({}, id="without a result"),
        pytest.param({"prevResult": previous("192.0.2.77/24")}, id="its address"),
        pytest.param({"prevResult": previous("2001:db8::5/64", "192.0.2.77/24")}, id="its address among others"),
        pytest.param({"prevResult": previous("2001:db8::5/64")}, id="no IPv4 address"),
    ],
)
def test_check_of_a_running_lease_passes(keys: dict[str, Any]) -> None:
    """There is a lease, it has not expired, and it is for the address of the result."""
    store.write_lease(make(obtained_s=now_s()))
    run("CHECK", **keys)


def test_check_of_an_infinite_lease_passes() -> None:
    """It never expires."""
    store.write_lease(make(obtained_s=0.0, lease_s=INFINITE_S))
    run("CHECK")


@pytest.mark.parametrize("seconds", [1, 5000])
def test_check_of_an_expired_lease_says_since_when(seconds: int) -> None:
    """Code 110, with the address, and what should have renewed it."""
    store.write_lease(make(obtained_s=now_s() - 1000 - seconds))
    with pytest.raises(VerificationFailed) as caught:
        run("CHECK", prevResult=previous("192.0.2.77/24"))
    assert caught.value.msg == f'the DHCP lease of "eth0" for 192.0.2.77/24 expired {seconds} s ago'
    assert "`cni-harvester leases`" in caught.value.details


def test_check_of_a_lost_lease_fails() -> None:
    """Its address was taken from the interface, however much time it once had."""
    store.write_lease(make(obtained_s=now_s() - 10).make_void())
    with pytest.raises(VerificationFailed, match=r"192\.0\.2\.77/24 expired 10 s ago"):
        run("CHECK")


def test_check_without_a_lease_fails() -> None:
    """The file is gone: nobody renews that address."""
    with pytest.raises(VerificationFailed, match='attachment "eth0" has no DHCP lease'):
        run("CHECK")


def test_check_of_a_lease_for_another_address_names_both() -> None:
    """A server may have given another address since the ADD, and the runtime still believes in the old one."""
    store.write_lease(make(obtained_s=now_s()))
    with pytest.raises(VerificationFailed) as caught:
        run("CHECK", prevResult=previous("192.0.2.80/24", "192.0.2.79/24"))
    assert "is for 192.0.2.77/24, its result has 192.0.2.79/24, 192.0.2.80/24" in caught.value.msg


def test_check_of_a_wrong_configuration_is_code_7() -> None:
    """CHECK reads the configuration as ADD does."""
    with pytest.raises(InvalidNetworkConfig, match=r"ipam\.mode: missing"):
        ipam.run_plugin(make_call("CHECK", {"type": "cni-harvester"}), "cni-harvester", "CHECK", trace=log_change)


# --- DEL -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [OURS, {"type": "cni-harvester"}, OURS | {"timeoutSeconds": "x", "more": 1}])
def test_delete_needs_no_valid_configuration(value: dict[str, Any]) -> None:
    """Whatever became of the configuration, the lease is forgotten; a container that is gone is no error."""
    store.write_lease(LEASE)
    for _ in range(2):
        ipam.run_plugin(make_call("DEL", value), "cni-harvester", "DEL", trace=log_change)
        assert store.list_leases() == []


def test_delete_removes_a_damaged_lease(directory: Path) -> None:
    """There is nothing to release then, and the runtime need not try for ever."""
    directory.mkdir()
    store.find_path(LEASE.attachment).write_text("{")
    run("DEL")
    assert list(directory.iterdir()) == []


def test_delete_leaves_the_leases_of_others_alone() -> None:
    """Another container, another interface, another network: each has its own."""
    others = [make_for("c-2"), make(attachment=Attachment("net", "c-1", "net1"))]
    others.append(make(attachment=Attachment("other", "c-1", "eth0")))
    for lease in (LEASE, *others):
        store.write_lease(lease)
    run("DEL")
    assert {lease.attachment for lease in store.list_leases()} == {lease.attachment for lease in others}


# --- GC ------------------------------------------------------------------------------------------------------------


def test_gc_removes_the_stale_leases_of_its_network_only() -> None:
    """What is listed stays, and so do the leases of other networks."""
    other = make(attachment=Attachment("other", "c-1", "eth0"))
    for lease in (LEASE, make_for("c-2"), make_for("c-3"), other):
        store.write_lease(lease)
    run("GC", **{VALID_KEY: [{"containerID": "c-2", "ifname": "eth0"}, {"containerID": "c-3", "ifname": "net1"}]})
    assert {lease.attachment for lease in store.list_leases()} == {make_for("c-2").attachment, other.attachment}


def test_gc_without_a_list_removes_nothing() -> None:
    """A missing list never means that nothing is valid."""
    store.write_lease(LEASE)
    with pytest.raises(InvalidNetworkConfig, match="missing"):
        run("GC")
    assert store.list_leases() == [LEASE]


def test_gc_with_a_damaged_file_removes_the_others_and_says_so(directory: Path) -> None:
    """Which network the file belongs to cannot be known; that keeps no stale lease alive."""
    for lease in (LEASE, make_for("c-2")):
        store.write_lease(lease)
    for name in ("veth00000000000.json", "vethzzzzzzzzzzz.json"):
        (directory / name).write_text("{")
    with pytest.raises(DecodeFailed, match="cannot read lease"):
        run("GC", **{VALID_KEY: []})
    assert sorted(path.name for path in directory.iterdir()) == ["veth00000000000.json", "vethzzzzzzzzzzz.json"]


def test_gc_without_leases_is_quiet(directory: Path) -> None:
    """A node that never had one has nothing to clean up, not even the folder."""
    run("GC", **{VALID_KEY: []})
    assert not directory.exists()


# --- STATUS, ADD ---------------------------------------------------------------------------------------------------


def test_status_of_a_node_that_can_keep_leases_passes(directory: Path) -> None:
    """Nothing is made for it."""
    run("STATUS")
    assert not directory.exists()


def test_status_of_a_wrong_configuration_is_code_7() -> None:
    """No ADD of it could succeed."""
    with pytest.raises(InvalidNetworkConfig, match=r"ipam\.mode: missing"):
        ipam.run_plugin(make_call("STATUS", {"type": "cni-harvester"}), "cni-harvester", "STATUS", trace=log_change)


def test_add_for_a_container_that_is_gone_is_code_3(directory: Path) -> None:
    """Nothing was asked for, and nothing is kept."""
    with pytest.raises(UnknownContainer):
        run("ADD")
    assert not directory.exists()


@pytest.mark.parametrize(("command", "code"), [("ADD", 3), ("CHECK", 110), ("DEL", 0), ("STATUS", 0), ("GC", 7)])
def test_call_of_another_main_plugin_comes_to_the_ipam_verbs(command: str, code: int) -> None:
    """`type` is macvlan, `ipam.type` ours: no bridge is asked for, and the code is the IPAM verb's own."""
    call = make_call(command, OURS)
    response = handle(Request(call.request.environment, call.request.stdin))
    found = json.loads(response.stdout)["code"] if response.exit_status else 0
    assert found == code, response
