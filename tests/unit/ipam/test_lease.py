"""Leases as files: written whole, read back the same, damaged ones named."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_harvester.errors import DecodeFailed
from cni_harvester.ipam import lease as store
from cni_harvester.ipam.lease import Lease
from cni_harvester.model.attachment import Attachment

from .samples import ADDRESS, INFINITE_S, LEASE, OBTAINED_S, OTHER_ADDRESS, SERVER, make, make_for

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789.-_", min_size=1, max_size=15)
ADDRESSES = st.integers(1, 2**32 - 2).map(IPv4Address)
SECONDS = st.integers(0, INFINITE_S)
NETWORKS = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(lambda pair: IPv4Network(pair, strict=False))
LEASES = st.builds(
    Lease,
    attachment=st.builds(Attachment, NAMES, NAMES, NAMES),
    netns=st.text(max_size=40),
    mac=st.just("02:00:00:00:00:05"),
    client_id=st.binary(max_size=255),
    address=st.tuples(ADDRESSES, st.integers(1, 32)).map(IPv4Interface),
    routes=st.lists(st.tuples(NETWORKS, st.none() | ADDRESSES), max_size=5).map(tuple),
    server=ADDRESSES,
    server_mac=st.just("02:00:00:00:00:01"),
    obtained_s=st.floats(0, 1e9),
    lease_s=SECONDS,
    t1_s=SECONDS,
    t2_s=SECONDS,
    only_server=st.none() | ADDRESSES,
)


def read_names(directory: Path) -> list[str]:
    """Return the names of all files, temporary ones included."""
    return sorted(path.name for path in directory.iterdir())


# --- files ---------------------------------------------------------------------------------------------------------


@given(lease=LEASES)
def test_lease_reads_back_as_it_was_written(lease: Lease, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every value survives the file."""
    path = tmp_path_factory.mktemp("lease") / "lease.json"
    path.write_text(json.dumps(lease.to_json()))
    assert store.read_lease(path) == lease


def test_lease_has_one_file_with_the_name_of_the_host_end(directory: Path) -> None:
    """It can be found by the attachment's identity, is for root only, and holds plain JSON with a version."""
    assert store.find_lease(LEASE.attachment) is None
    assert store.list_leases() == []
    store.write_lease(LEASE)
    path = directory / f"{LEASE.attachment.host_end}.json"
    assert read_names(directory) == [path.name]
    assert (directory.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)
    assert json.loads(path.read_text())["version"] == 1
    assert store.find_path(LEASE.attachment) == path
    assert store.find_lease(LEASE.attachment) == LEASE


def test_leases_of_several_attachments_do_not_touch_each_other(directory: Path) -> None:
    """Two interfaces of one container have a lease each; forgetting one leaves the others."""
    second = make(attachment=Attachment("net", "c-1", "net1"), address=OTHER_ADDRESS)
    for lease in (LEASE, second, make_for("c-2")):
        store.write_lease(lease)
    assert {lease.attachment for lease in store.list_leases()} == {
        LEASE.attachment,
        second.attachment,
        Attachment("net", "c-2", "eth0"),
    }
    store.remove_lease(LEASE.attachment)
    assert store.find_lease(LEASE.attachment) is None
    assert store.find_lease(second.attachment) == second
    assert len(store.list_leases()) == 2


def test_removing_what_is_not_there_is_quiet(directory: Path) -> None:
    """Neither a missing file nor a missing folder is an error, and neither makes anything."""
    store.remove_lease(LEASE.attachment)
    assert not directory.exists()
    store.write_lease(make_for("c-2"))
    store.remove_lease(LEASE.attachment)
    assert len(store.list_leases()) == 1


# --- replacing -----------------------------------------------------------------------------------------------------


def test_replacing_puts_the_new_lease_in_the_place_of_the_old(directory: Path) -> None:
    """There is one file before and after, and no rest of the writing."""
    store.write_lease(LEASE)
    assert store.replace_lease(make(address=OTHER_ADDRESS)) is True
    assert read_names(directory) == [f"{LEASE.attachment.host_end}.json"]
    found = store.find_lease(LEASE.attachment)
    assert found is not None
    assert found.address == OTHER_ADDRESS


def test_replacing_a_lease_that_was_removed_meanwhile_does_nothing(directory: Path) -> None:
    """A DEL that came between is not undone by who renews."""
    store.write_lease(LEASE)
    store.remove_lease(LEASE.attachment)
    assert store.replace_lease(LEASE) is False
    assert read_names(directory) == []


def test_reader_sees_the_old_lease_or_the_new_one_never_a_part(directory: Path) -> None:
    """While one thread rewrites a lease, others read only whole ones."""
    store.write_lease(LEASE)
    done = threading.Event()

    def read_on() -> set[IPv4Interface]:
        seen = set()
        while not done.is_set():
            lease = store.find_lease(LEASE.attachment)
            assert lease is not None
            seen.add(lease.address)
        return seen

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read_on) for _ in range(2)]
        for number in range(200):
            store.replace_lease(make(address=OTHER_ADDRESS if number % 2 else ADDRESS))
        done.set()
    assert all(reader.result() <= {ADDRESS, OTHER_ADDRESS} for reader in readers)


def test_write_that_fails_leaves_the_old_lease_and_no_rest(directory: Path) -> None:
    """A value that cannot be written is noticed before the old file is touched."""
    store.write_lease(LEASE)
    with pytest.raises(TypeError):
        store.replace_lease(make(netns=object()))
    assert read_names(directory) == [f"{LEASE.attachment.host_end}.json"]
    assert store.find_lease(LEASE.attachment) == LEASE


def test_removal_waits_for_a_writer(directory: Path) -> None:
    """Removing while another one writes ends with the lease removed, whichever comes first."""
    store.write_lease(LEASE)
    threads = [threading.Thread(target=store.replace_lease, args=(LEASE,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    store.remove_lease(LEASE.attachment)
    for thread in threads:
        thread.join()
    assert read_names(directory) == []


# --- damage --------------------------------------------------------------------------------------------------------

DOCUMENT = LEASE.to_json()
DAMAGES = {
    "empty": "",
    "cut off": json.dumps(DOCUMENT)[:-20],
    "no JSON": "lease",
    "no object": "[]",
    "null": "null",
    "number": "5",
    "not UTF-8": b"\xff\xfe\x00",
    "too long an identity": json.dumps(DOCUMENT | {"attachment": {**DOCUMENT["attachment"], "network": "n" * 300}}),
    **{
        f"without {key}": json.dumps({k: v for k, v in DOCUMENT.items() if k != key})
        for key in DOCUMENT
        if key != "version"
    },
    **{
        f"wrong {key}": json.dumps(DOCUMENT | {key: value})
        for key, value in {
            "attachment": "net/c-1/eth0", "client_id": "xyz", "address": "192.0.2.300/24", "routes": 5,
            "server": "here", "obtained_s": "soon", "lease_s": None, "t1_s": "x", "t2_s": [], "only_server": "x",
        }.items()
    },
}  # fmt: skip


@pytest.mark.parametrize("content", DAMAGES.values(), ids=DAMAGES.keys())
def test_damaged_file_is_named_with_what_to_do(content: str | bytes, directory: Path) -> None:
    """Whatever is in the file, the error is of code 6 and has its path and a way out."""
    path = store.find_path(LEASE.attachment)
    directory.mkdir()
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for read in (lambda: store.find_lease(LEASE.attachment), store.list_leases):
        with pytest.raises(DecodeFailed) as caught:
            read()
        assert caught.value.msg.startswith(f'cannot read lease "{path}": ')
        assert caught.value.details == "delete the file: its lease then ends on the server by itself"


# --- what a lease knows --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lease", "expires_s"),
    [(LEASE, OBTAINED_S + 1000), (make(lease_s=INFINITE_S), float("inf")), (LEASE.make_void(), OBTAINED_S)],
)
def test_lease_ends_its_time_after_it_was_asked_for(lease: Lease, expires_s: float) -> None:
    """An infinite one never does; one that was lost has ended."""
    assert lease.expires_s == expires_s


def test_void_lease_keeps_who_asked_and_what_was_there() -> None:
    """What is needed to ask anew is kept, and no time is left, whatever the lease's was."""
    void = make(lease_s=INFINITE_S, client_id=b"\0vm", only_server=SERVER).make_void()
    assert void.is_void
    assert not LEASE.is_void
    assert (void.lease_s, void.t1_s, void.t2_s) == (0, 0, 0)
    assert (void.attachment, void.netns, void.address) == (LEASE.attachment, LEASE.netns, LEASE.address)
    assert (void.client.identifier, void.client.only_server) == (b"\0vm", SERVER)


def test_gateway_is_the_default_routes() -> None:
    """A route to elsewhere is none, and no default route is no gateway."""
    assert LEASE.gateway == SERVER
    assert make(routes=LEASE.routes[1:]).gateway is None
    assert make(routes=()).gateway is None


def test_clock_runs_on() -> None:
    """The clock of the leases counts seconds since boot, which nobody sets back."""
    first = store.now_s()
    assert 0 < first <= store.now_s()
