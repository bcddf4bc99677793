"""Results in every version of the specification: what is written, what is read, what a conversion loses."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_harvester.cni.result import (
    Interface,
    Ip,
    Result,
    Route,
    format_result,
    parse_result,
    require_expressible,
)
from cni_harvester.errors import DecodeFailed, HarvesterError, IncompatibleVersion, InvalidNetworkConfig

OLD, MIDDLE, MODERN = ("0.1.0", "0.2.0"), ("0.3.0", "0.3.1", "0.4.0"), ("1.0.0", "1.1.0")
ALL = OLD + MIDDLE + MODERN

DNS = {"nameservers": ["192.0.2.53"], "domain": "example.org", "search": ["example.org"], "options": ["ndots:2"]}
INTERFACES = [
    {"name": "cn1-br", "mac": "00:00:5e:00:53:01", "mtu": 9000},
    {"name": "veth0", "mac": "00:00:5e:00:53:02", "mtu": 1500, "socketPath": "/run/vhost.sock"},
    {"name": "eth0", "mac": "00:00:5e:00:53:03", "sandbox": "/run/netns/pod-1", "pciID": "0000:00:1f.6"},
]
IPS = [
    {"address": "192.0.2.5/24", "gateway": "192.0.2.1", "interface": 2},
    {"address": "2001:db8::5/64", "gateway": "2001:db8::1", "interface": 0},
    {"address": "198.51.100.5/24"},
]
ROUTES = [
    {"dst": "0.0.0.0/0"},
    {"dst": "203.0.113.0/24", "gw": "192.0.2.9", "mtu": 1400, "advmss": 1360, "priority": 7, "table": 0, "scope": 0},
    {"dst": "2001:db8:1::/48", "gw": "2001:db8::9", "table": 100, "scope": 253},
]
FULL = {"cniVersion": "1.1.0", "interfaces": INTERFACES, "ips": IPS, "routes": ROUTES, "dns": DNS}


def drop(objects: list[dict[str, Any]], *keys: str) -> list[dict[str, Any]]:
    """Return objects less some of their keys."""
    return [{key: value for key, value in one.items() if key not in keys} for one in objects]


OLD_FULL = {
    "ip4": {
        "ip": "192.0.2.5/24",
        "gateway": "192.0.2.1",
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "203.0.113.0/24", "gw": "192.0.2.9"}],
    },
    "ip6": {
        "ip": "2001:db8::5/64",
        "gateway": "2001:db8::1",
        "routes": [{"dst": "2001:db8:1::/48", "gw": "2001:db8::9"}],
    },
    "dns": DNS,
}
MIDDLE_FULL = {
    "interfaces": drop(INTERFACES, "mtu", "socketPath", "pciID"),
    "ips": [{"version": version} | ip for version, ip in zip("464", IPS, strict=True)],
    "routes": ROUTES,
    "dns": DNS,
}
MODERN_FULL = {"interfaces": INTERFACES, "ips": IPS, "routes": ROUTES, "dns": DNS}
WRITTEN = dict.fromkeys(OLD, OLD_FULL) | dict.fromkeys(MIDDLE, MIDDLE_FULL) | dict.fromkeys(MODERN, MODERN_FULL)


def read(document: object, config_version: str = "1.1.0") -> Result:
    """Read a document as prevResult."""
    return parse_result(document, config_version=config_version, what="prevResult")


def write(result: Result, version: str) -> dict[str, Any]:
    """Write a result as it goes over the wire."""
    document = json.loads(json.dumps(format_result(result, version)))
    assert isinstance(document, dict)
    return document


def refuse(document: object, config_version: str = "1.1.0") -> HarvesterError:
    """Return the error of a document that is refused."""
    with pytest.raises(HarvesterError) as caught:
        read(document, config_version)
    return caught.value


# --- writing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ALL)
def test_result_is_written_as_its_version_has_it(version: str) -> None:
    """Each version has its own form, and what it cannot hold is left out."""
    assert write(read(FULL), version) == {"cniVersion": version} | WRITTEN[version]


@pytest.mark.parametrize(
    ("version", "empty"),
    [
        *((version, {"cniVersion": version, "dns": {}}) for version in MIDDLE),
        *((version, {"cniVersion": version}) for version in MODERN),
    ],
)
def test_result_that_is_empty_has_no_lists(version: str, empty: dict[str, Any]) -> None:
    """Empty lists are left out; `dns` is always there before 1.0.0 and only when set since."""
    assert write(Result(), version) == empty


@pytest.mark.parametrize("version", MIDDLE + MODERN)
def test_index_of_the_first_interface_is_printed(version: str) -> None:
    """Index 0 is an index, not an absence."""
    ips = write(read({"interfaces": INTERFACES[:1], "ips": [IPS[1], IPS[2]]}), version)["ips"]
    assert ips[0]["interface"] == 0
    assert "interface" not in ips[1]


@pytest.mark.parametrize("version", MIDDLE + MODERN)
def test_address_keeps_its_host_bits(version: str) -> None:
    """The address of a result is the interface's, not its network's."""
    assert write(read({"ips": [{"address": "192.0.2.77/24"}]}), version)["ips"][0]["address"] == "192.0.2.77/24"


@pytest.mark.parametrize("version", OLD)
def test_result_without_addresses_cannot_be_written_before_0_3_0(version: str) -> None:
    """Versions that know nothing but addresses cannot say what a layer-2 attachment is."""
    for document in ({}, {"interfaces": INTERFACES, "routes": ROUTES, "dns": DNS}):
        with pytest.raises(IncompatibleVersion) as caught:
            format_result(read(document), version)
        assert f'"{version}"' in caught.value.msg
        assert "no valid IP addresses" in caught.value.details


@pytest.mark.parametrize("version", OLD)
@pytest.mark.parametrize(("ip", "key", "routes"), [(IPS[0], "ip4", ROUTES[:1]), (IPS[1], "ip6", ROUTES[2:])])
def test_routes_of_a_family_without_address_are_lost_before_0_3_0(
    version: str, ip: dict[str, Any], key: str, routes: list[dict[str, Any]]
) -> None:
    """An address of one family takes only its own routes along."""
    document = write(read({"ips": [ip], "routes": [ROUTES[0], ROUTES[2]]}), version)
    assert set(document) == {"cniVersion", key, "dns"}
    assert document[key]["routes"] == drop(routes, "table", "scope")


@pytest.mark.parametrize("version", OLD)
def test_result_before_0_3_0_always_has_dns(version: str) -> None:
    """The smallest old result: one address, without gateway and routes."""
    document = write(read({"ips": [IPS[2]]}), version)
    assert document == {"cniVersion": version, "ip4": {"ip": "198.51.100.5/24"}, "dns": {}}


@pytest.mark.parametrize("version", ALL)
def test_layer_2_attachment_is_refused_before_anything_is_done_in_versions_without_interfaces(version: str) -> None:
    """Whether a version can hold the result is known before the node is changed."""
    require_expressible(version, has_ipam=True)
    if version in OLD:
        with pytest.raises(IncompatibleVersion):
            require_expressible(version, has_ipam=False)
    else:
        require_expressible(version, has_ipam=False)


# --- reading -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ALL)
@pytest.mark.parametrize("target", MIDDLE + MODERN)
def test_result_of_any_version_is_read_and_written_in_another(source: str, target: str) -> None:
    """What both versions can hold survives; reading the older one loses nothing more than it had lost."""
    once = write(read({"cniVersion": source} | WRITTEN[source]), target)
    again = write(read(once), target)
    assert once == again
    kept_ips = [ip["address"] for ip in (IPS[:2] if source in OLD else IPS)]
    assert [ip["address"] for ip in once["ips"]] == kept_ips
    assert [route["dst"] for route in once["routes"]] == [route["dst"] for route in ROUTES]
    assert once["dns"] == DNS
    assert len(once.get("interfaces", [])) == (0 if source in OLD else 3)
    assert all(("version" in ip) == (target in MIDDLE) for ip in once["ips"])


@pytest.mark.parametrize("version", OLD)
def test_result_before_0_3_0_is_read_ip4_first(version: str) -> None:
    """Addresses and routes come in the order ip4, ip6, without interfaces."""
    result = read({"cniVersion": version, "ip6": OLD_FULL["ip6"], "ip4": OLD_FULL["ip4"]})
    assert [str(ip.address) for ip in result.ips] == ["192.0.2.5/24", "2001:db8::5/64"]
    assert [str(ip.gateway) for ip in result.ips] == ["192.0.2.1", "2001:db8::1"]
    assert [str(route.dst) for route in result.routes] == ["0.0.0.0/0", "203.0.113.0/24", "2001:db8:1::/48"]
    assert result.interfaces == []


@pytest.mark.parametrize("version", OLD)
def test_result_before_0_3_0_survives_being_read_and_written(version: str) -> None:
    """What was printed in an old version is printed again."""
    document = {"cniVersion": version} | OLD_FULL
    assert write(read(document), version) == document


@pytest.mark.parametrize("key", ["socketPath", "pciID", "somethingNew"])
def test_interface_of_another_plugin_keeps_keys_that_we_do_not_know(key: str) -> None:
    """An interface in prevResult is passed on whole in versions that can hold it."""
    result = read({"interfaces": [{"name": "net1", key: "value"}]})
    assert write(result, "1.1.0")["interfaces"] == [{"name": "net1", key: "value"}]
    assert write(result, "0.4.0")["interfaces"] == [{"name": "net1"}]


@pytest.mark.parametrize(
    ("document", "config_version", "old"),
    [
        ({}, "0.2.0", True),
        ({"cniVersion": ""}, "0.2.0", True),
        ({"cniVersion": None}, "0.2.0", True),
        ({}, "0.3.0", False),
        ({"cniVersion": "0.2.0"}, "1.1.0", True),
        ({"CNIVERSION": "0.1.0"}, "1.1.0", True),
        ({"cniVersion": "1.0.0"}, "0.1.0", False),
    ],
)
def test_result_without_a_version_has_that_of_the_configuration(
    document: dict[str, Any], config_version: str, old: bool
) -> None:
    """Its own version says how to read it; else the configuration's does, as in the runtimes."""
    result = read(document | {"ip4": {"ip": "192.0.2.5/24"}, "ips": [{"address": "198.51.100.5/24"}]}, config_version)
    assert [str(ip.address) for ip in result.ips] == ["192.0.2.5/24" if old else "198.51.100.5/24"]


@pytest.mark.parametrize("version", ["9.9.9", "1.0", "0.5.0", 5, True, [1]])
def test_result_of_a_version_that_is_not_supported_is_refused(version: object) -> None:
    """A version that we cannot read is named (code 1)."""
    error = refuse({"cniVersion": version})
    assert type(error) is IncompatibleVersion
    assert error.msg == f"incompatible CNI version {version!r} of prevResult"


@pytest.mark.parametrize("document", [[], "text", 5, True, None])
def test_result_that_is_no_object_cannot_be_decoded(document: object) -> None:
    """A result is a JSON object (code 6)."""
    error = refuse(document)
    assert (type(error), error.msg) == (DecodeFailed, "error decoding prevResult: it is not a JSON object")


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"interfaces": {}}, "interfaces"),
        ({"interfaces": [{}]}, "interfaces[0].name"),
        ({"interfaces": [{"name": "a"}, {"name": 5}]}, "interfaces[1].name"),
        ({"interfaces": [{"name": "a", "mtu": "1500"}]}, "interfaces[0].mtu"),
        ({"interfaces": [None]}, "interfaces[0]"),
        ({"ips": [{}]}, "ips[0].address"),
        ({"ips": [{"address": "192.0.2.5"}]}, "ips[0].address"),
        ({"ips": [{"address": "192.0.2.500/24"}]}, "ips[0].address"),
        ({"ips": [{"address": "192.0.2.5/33"}]}, "ips[0].address"),
        ({"ips": [{"address": ""}]}, "ips[0].address"),
        ({"ips": [{"address": 5}]}, "ips[0].address"),
        ({"ips": [{"address": ["192.0.2.5/24"]}]}, "ips[0].address"),
        ({"ips": [{"address": "192.0.2.5/24", "gateway": "x"}]}, "ips[0].gateway"),
        ({"ips": [{"address": "192.0.2.5/24", "gateway": "192.0.2.1/24"}]}, "ips[0].gateway"),
        ({"ips": [{"address": "192.0.2.5/24", "gateway": 5}]}, "ips[0].gateway"),
        ({"ips": [{"address": "192.0.2.5/24", "interface": "0"}]}, "ips[0].interface"),
        ({"routes": [{"gw": "192.0.2.1"}]}, "routes[0].dst"),
        ({"routes": [{"dst": "default"}]}, "routes[0].dst"),
        ({"routes": [{"dst": True}]}, "routes[0].dst"),
        ({"routes": [{"dst": "0.0.0.0/0", "mtu": 1.5}]}, "routes[0].mtu"),
        ({"dns": []}, "dns"),
        ({"dns": {"nameservers": [5]}}, "dns.nameservers[0]"),
        ({"cniVersion": "0.2.0", "ip4": {}}, "ip4.ip"),
        ({"cniVersion": "0.2.0", "ip4": []}, "ip4"),
        ({"cniVersion": "0.2.0", "ip6": {"ip": "x/64"}}, "ip6.ip"),
        ({"cniVersion": "0.2.0", "ip4": {"ip": "192.0.2.5/24", "routes": [{}]}}, "ip4.routes[0].dst"),
    ],
)
def test_result_with_a_fault_is_refused_by_its_path(document: dict[str, Any], path: str) -> None:
    """A fault in a result is one fault, named by its JSON path and nothing else (code 7)."""
    error = refuse(document)
    assert type(error) is InvalidNetworkConfig
    assert error.msg.removeprefix("invalid prevResult: ").split(": ")[0] == path
    assert error.details.startswith("1 fault; ")


def test_result_with_several_faults_has_them_all_reported() -> None:
    """Every fault is listed at once."""
    error = refuse({"interfaces": [{}], "ips": [{"address": "x/24"}], "routes": [{"dst": "y"}], "dns": {"domain": 5}})
    faults = error.msg.removeprefix("invalid prevResult: ").split("; ")
    assert [fault.split(": ")[0] for fault in faults] == [
        "interfaces[0].name",
        "ips[0].address",
        "routes[0].dst",
        "dns.domain",
    ]


def test_result_keys_match_without_case_and_null_is_not_given() -> None:
    """Results are read as configurations are: as Go's decoder does."""
    spelled = {"Interfaces": [{"NAME": "eth0"}], "IPs": [{"Address": "192.0.2.5/24", "gateway": None}], "routes": None}
    assert read(spelled) == read({"interfaces": [{"name": "eth0"}], "ips": [{"address": "192.0.2.5/24"}]})


def test_result_keys_that_are_unknown_are_tolerated() -> None:
    """Keys of other plugins and later versions do not make a result invalid."""
    foreign = {"ips": [{"address": "198.51.100.5/24", "x": 1}], "y": {}, "ip4": 5}
    assert read(foreign) == read({"ips": [{"address": "198.51.100.5/24"}]})


# --- any result ----------------------------------------------------------------------------------------------------

words = st.text("abcdefghijklmnopqrstuvwxyz0123456789./:é", min_size=1, max_size=12)
v4_addresses, v6_addresses = st.ip_addresses(v=4), st.ip_addresses(v=6)
networks = st.one_of(
    st.builds("{}/{}".format, v4_addresses, st.integers(0, 32)),
    st.builds("{}/{}".format, v6_addresses, st.integers(0, 128)),
)
numbers = st.integers(0, 2**32 - 1)


def objects(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[list[Any]]:
    """Draw a few JSON objects."""
    return st.lists(st.fixed_dictionaries(required, optional=optional), max_size=2)


interfaces = objects({"name": words}, {"mac": words, "mtu": numbers, "sandbox": words, "pciID": words, "other": words})
ips = objects({"address": networks}, {"gateway": v4_addresses.map(str), "interface": st.integers(0, 9)})
route_numbers = dict.fromkeys(("mtu", "advmss", "priority", "table", "scope"), numbers)
routes = objects({"dst": networks}, {"gw": v6_addresses.map(str)} | route_numbers)
dns = st.fixed_dictionaries({}, optional={"nameservers": st.lists(words), "domain": words, "search": st.lists(words)})
documents = st.fixed_dictionaries({}, optional={"interfaces": interfaces, "ips": ips, "routes": routes, "dns": dns})


@given(documents, st.sampled_from(MODERN))
def test_result_written_since_1_0_0_is_read_back_equal(document: dict[str, Any], version: str) -> None:
    """Versions since 1.0.0 hold everything: a result survives being written and read."""
    result = read(document)
    assert read(write(result, version)) == result.model_copy(update={"cni_version": version})


@given(documents, st.sampled_from(MIDDLE))
def test_result_written_before_1_0_0_loses_nothing_but_keys_of_interfaces(
    document: dict[str, Any], version: str
) -> None:
    """Versions 0.3.0 to 0.4.0 hold name, MAC and sandbox of an interface, and everything else whole."""
    result = read(document)
    kept = [Interface(name=one.name, mac=one.mac, sandbox=one.sandbox) for one in result.interfaces]
    assert read(write(result, version)) == result.model_copy(update={"cni_version": version, "interfaces": kept})


@given(documents)
def test_result_written_before_0_3_0_keeps_the_first_address_of_each_family(document: dict[str, Any]) -> None:
    """Of each family, versions before 0.3.0 hold one address, and destination and gateway of its routes."""
    result = read(document)
    firsts = [[ip for ip in result.ips if ip.address.version == family][:1] for family in (4, 6)]
    if not any(firsts):
        with pytest.raises(IncompatibleVersion):
            format_result(result, "0.2.0")
        return
    found = read(write(result, "0.2.0"))
    assert found.ips == [Ip(address=ip.address, gateway=ip.gateway) for first in firsts for ip in first]
    assert found.routes == [
        Route(dst=route.dst, gw=route.gw)
        for first in firsts
        for route in result.routes
        if first and route.dst.version == first[0].address.version
    ]
    assert found.dns == result.dns
