"""The network configuration: every key, every fault, and which MAC is asked for."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_harvester.cni import netconf
from cni_harvester.cni.netconf import NetworkConfig
from cni_harvester.cni.request import Call, Request
from cni_harvester.errors import HarvesterError, InvalidEnvironment, InvalidNetworkConfig, UnsupportedField

MAC_1, MAC_2, MAC_3 = "00:00:5e:00:53:01", "00:00:5e:00:53:02", "00:00:5e:00:53:03"


def make_call(config: dict[str, Any], arguments: str = "") -> Call:
    """Make the call of an ADD with a configuration."""
    request = Request({"CNI_COMMAND": "ADD", "CNI_ARGS": arguments}, json.dumps(config).encode())
    return Call("ADD", "vlan100", "1.1.0", json.loads(request.stdin), request)


def load(**keys: Any) -> NetworkConfig:
    """Load a configuration: a bridge and more keys."""
    return netconf.load_network_config(make_call({"bridge": "cn1-br"} | keys))


def refuse(**keys: Any) -> HarvesterError:
    """Return the error of a configuration that is refused."""
    with pytest.raises(HarvesterError) as caught:
        load(**keys)
    return caught.value


# --- keys ----------------------------------------------------------------------------------------------------------


def test_configuration_of_a_bridge_alone_has_the_defaults_of_the_reference() -> None:
    """Only the bridge is required; everything else is off, empty or inherited."""
    config = load()
    assert config.bridge == "cn1-br"
    assert (config.mtu, config.vlan, config.trunk) == (0, 0, frozenset())
    assert (config.promisc_mode, config.hairpin_mode, config.port_isolation) == (False, False, False)
    assert (config.preserve_default_vlan, config.macspoofchk, config.enabledad) == (False, False, False)
    assert (config.disable_container_interface, config.enable_vlan_filtering) == (False, False)
    assert (config.create_bridge, config.uplink_vlans) == (False, "auto")
    assert (config.ipam.type, config.ipam.daemon_socket_path) == ("", "/run/cni/dhcp.sock")
    assert config.dns.to_json() == {}
    assert netconf.choose_mac(config, make_call({})) == ""
    assert not config.needs_filtering


@pytest.mark.parametrize(
    ("key", "value", "attribute"),
    [
        ("bridge", "mgmt-br", "bridge"),
        ("mtu", 68, "mtu"),
        ("mtu", 1450, "mtu"),
        ("mtu", 65535, "mtu"),
        ("mtu", 0, "mtu"),
        ("vlan", 0, "vlan"),
        ("vlan", 1, "vlan"),
        ("vlan", 4094, "vlan"),
        ("promiscMode", True, "promisc_mode"),
        ("hairpinMode", True, "hairpin_mode"),
        ("preserveDefaultVlan", True, "preserve_default_vlan"),
        ("macspoofchk", True, "macspoofchk"),
        ("portIsolation", True, "port_isolation"),
        ("disableContainerInterface", True, "disable_container_interface"),
        ("enabledad", True, "enabledad"),
        ("enableVlanFiltering", True, "enable_vlan_filtering"),
        ("createBridge", True, "create_bridge"),
        ("uplinkVlans", "manual", "uplink_vlans"),
        ("uplinkVlans", "auto", "uplink_vlans"),
    ],
)
@pytest.mark.parametrize("case", [str, str.upper, str.lower])
def test_key_is_read_in_any_case(key: str, value: object, attribute: str, case: Any) -> None:
    """Each key sets its attribute, however it is spelled, as Go's decoder has it."""
    assert getattr(load(**{case(key): value}), attribute) == value


@pytest.mark.parametrize(
    "key",
    [
        *("mtu", "vlan", "vlanTrunk", "promiscMode", "hairpinMode", "preserveDefaultVlan", "macspoofchk"),
        *("portIsolation", "disableContainerInterface", "enabledad", "enableVlanFiltering", "createBridge"),
        *("uplinkVlans", "ipam", "dns", "args", "runtimeConfig"),
        *("isGateway", "isDefaultGateway", "forceAddress", "ipMasq"),
    ],
)
def test_key_that_is_null_is_not_given(key: str) -> None:
    """Null means the default, as Go's decoder has it."""
    assert load(**{key: None}) == load()


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("bridge", [5, True, [], {}, 1.5]),
        *((key, ["5", 1.5, 1.0, True, False, [], {}, ""]) for key in ("mtu", "vlan")),
        ("vlanTrunk", ["100", 100, True, {}, {"id": 100}]),
        *(
            (key, ["true", "", 0, 1, 1.5, [], {}])
            for key in (
                *("promiscMode", "hairpinMode", "preserveDefaultVlan", "macspoofchk", "portIsolation"),
                *("disableContainerInterface", "enabledad", "enableVlanFiltering", "createBridge"),
                *("isGateway", "isDefaultGateway", "forceAddress", "ipMasq"),
            )
        ),
        ("uplinkVlans", ["AUTO", "", "off", True, 5, []]),
        *((key, ["dhcp", "", 5, True, []]) for key in ("ipam", "dns", "args", "runtimeConfig")),
    ],
)
def test_key_with_a_value_of_another_type_is_refused_by_its_path(key: str, values: list[object]) -> None:
    """Types are strict: text is no number, a number no truth value; each is one fault of code 7 that names the key."""
    for value in values:
        error = refuse(**{key: value})
        assert type(error) is InvalidNetworkConfig
        assert error.msg.startswith(f"invalid network configuration: {key}: ")
        assert error.msg.endswith(f", got {value!r}")
        assert error.details.startswith("1 fault; ")


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("bridge", ["", "a" * 16, ".", "..", "a/b", "a b", "cn1-br\n", "é" * 8, "\ud800", "\udcff"]),
        ("mtu", [-1, 1, 67, 65536, -1500, 10**30]),
        ("vlan", [-1, -100, 4095, 5000, 10**30, -(10**30)]),
    ],
)
def test_key_with_a_value_out_of_range_is_refused_by_its_path(key: str, values: list[object]) -> None:
    """A name that the kernel cannot have, an MTU or a VLAN out of range is one fault of code 7."""
    for value in values:
        error = refuse(**{key: value})
        assert type(error) is InvalidNetworkConfig, value
        assert error.msg.startswith(f"invalid network configuration: {key}: ")
        assert error.details.startswith("1 fault; ")


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("ipam.type", {"ipam": {"type": 5}}),
        ("ipam.type", {"ipam": {"type": "/bin/sh"}}),
        ("ipam.type", {"ipam": {"type": "../host-local"}}),
        ("ipam.type", {"ipam": {"type": ".."}}),
        ("ipam.type", {"ipam": {"type": "."}}),
        ("ipam.type", {"ipam": {"type": "a\0b"}}),
        ("ipam.daemonSocketPath", {"ipam": {"type": "dhcp", "daemonSocketPath": 5}}),
        ("dns.nameservers", {"dns": {"nameservers": "192.0.2.1"}}),
        ("dns.nameservers[1]", {"dns": {"nameservers": ["192.0.2.1", 5]}}),
        ("dns.domain", {"dns": {"domain": []}}),
        ("dns.search", {"dns": {"search": "example.org"}}),
        ("dns.options[0]", {"dns": {"options": [None]}}),
        ("args.cni", {"args": {"cni": 5}}),
        ("args.cni.mac", {"args": {"cni": {"mac": 5}}}),
        ("args.cni.mac", {"args": {"cni": {"mac": "zz"}}}),
        ("args.cni.mac", {"args": {"cni": {"mac": "01:00:5e:90:10:00"}}}),
        ("runtimeConfig.mac", {"runtimeConfig": {"mac": "00:00:00:00:00:00"}}),
        ("runtimeConfig.mac", {"RuntimeConfig": {"MAC": "ff:ff:ff:ff:ff:ff"}}),
        ("runtimeConfig.mac", {"runtimeConfig": {"mac": ["00:00:5e:00:53:01"]}}),
    ],
)
def test_key_within_an_object_is_refused_by_its_whole_path(path: str, keys: dict[str, Any]) -> None:
    """A fault inside an object or a list is named by its JSON path, in our spelling."""
    error = refuse(**keys)
    assert type(error) is InvalidNetworkConfig
    assert error.msg.startswith(f"invalid network configuration: {path}: ")
    assert error.details.startswith("1 fault; ")


def test_bridge_that_is_missing_is_refused() -> None:
    """There is no default bridge: on the node it would be another network's."""
    for config in ({}, {"bridge": None}):
        with pytest.raises(InvalidNetworkConfig) as caught:
            netconf.load_network_config(make_call(config))
        assert caught.value.msg == "invalid network configuration: bridge: missing"


def test_faults_are_reported_all_at_once() -> None:
    """A person corrects a configuration once: every fault is listed by its path."""
    error = refuse(
        bridge="a/b",
        mtu="x",
        vlan=5000,
        vlanTrunk=[{"id": 100}, {"minID": 5}, None, {"id": 0, "maxID": "9", "x": 1}],
        ipam={"type": 3},
        uplinkVlans="x",
        RUNTIMECONFIG={"mac": "zz"},
    )
    assert type(error) is InvalidNetworkConfig
    faults = error.msg.removeprefix("invalid network configuration: ").split("; ")
    assert [fault.split(": ")[0] for fault in faults] == [
        *("bridge", "mtu", "vlan", "vlanTrunk[1]", "vlanTrunk[2]"),
        *("vlanTrunk[3].id", "vlanTrunk[3].maxID", "vlanTrunk[3].x"),
        *("uplinkVlans", "ipam.type", "runtimeConfig.mac"),
    ]
    assert error.details.startswith("11 faults; ")


def test_fault_with_a_long_value_shows_its_beginning() -> None:
    """A message stays readable whatever was written."""
    error = refuse(mtu="9" * 10_000)
    assert error.msg.endswith("…")
    assert len(error.msg) < 200


@pytest.mark.parametrize(
    ("keys", "cause"),
    [
        ({"hairpinMode": True, "promiscMode": True}, "hairpinMode and promiscMode cannot both be true"),
        ({"disableContainerInterface": True, "ipam": {"type": "static"}}, "disableContainerInterface needs an empty"),
    ],
)
def test_keys_that_exclude_each_other_are_refused(keys: dict[str, Any], cause: str) -> None:
    """Combinations that cannot work are one fault of the whole document."""
    error = refuse(**keys)
    assert type(error) is InvalidNetworkConfig
    assert error.msg.startswith(f"invalid network configuration: {cause}")


def test_keys_that_exclude_each_other_twice_are_reported_together() -> None:
    """Both combinations are named in one error."""
    error = refuse(hairpinMode=True, promiscMode=True, disableContainerInterface=True, ipam={"type": "static"})
    assert "hairpinMode and promiscMode" in error.msg
    assert "disableContainerInterface needs" in error.msg


@pytest.mark.parametrize("key", ["isGateway", "isDefaultGateway", "forceAddress", "ipMasq"])
def test_gateway_keys_are_accepted_as_false_and_refused_as_true(key: str) -> None:
    """What a layer-2 network cannot do is refused by key and value (code 2), not ignored."""
    assert load(**{key: False}) == load()
    for spelling in (key, key.upper()):
        error = refuse(**{spelling: True})
        assert type(error) is UnsupportedField
        assert error.msg == f"unsupported value in network configuration: {key}: true"


def test_gateway_keys_that_are_true_are_refused_together() -> None:
    """All unsupported values are listed at once."""
    error = refuse(ipMasq=True, isGateway=True, forceAddress=False, isDefaultGateway=True)
    assert (
        error.msg == "unsupported value in network configuration: isGateway: true, isDefaultGateway: true, ipMasq: true"
    )


def test_keys_that_are_unknown_at_the_top_are_tolerated() -> None:
    """Runtimes, Multus and people add keys; as the reference does, we leave them alone."""
    foreign = {
        "cniVersion": "1.1.0",
        "name": "vlan100",
        "type": "cni-harvester",
        "capabilities": {"mac": True},
        "prevResult": {"anything": 5},
        "cni.dev/valid-attachments": [],
        "cni.dev/attachments": 7,
        "ipMasqBackend": "bogus",
        "vlan_trunk": [{"id": 5}],
        "promisc_mode": True,
        "_comment": None,
        "": [1, 2],
    }
    assert load(**foreign) == load()


def test_keys_that_are_unknown_in_objects_of_others_are_tolerated() -> None:
    """`ipam`, `dns`, `args` and `runtimeConfig` are others' business too."""
    config = load(
        ipam={"type": "static", "addresses": [{"address": "192.0.2.5/24"}]},
        dns={"x": 1},
        args={"cni": {"labels": [], "ips": ["192.0.2.5"]}, "other": 5},
        runtimeConfig={"portMappings": [], "ips": ["192.0.2.5/24"]},
    )
    assert config.ipam.type == "static"


def test_dns_is_kept_as_far_as_it_is_set() -> None:
    """Only what is set stands in the result."""
    config = load(DNS={"Nameservers": ["192.0.2.1", "2001:db8::1"], "domain": "", "search": ["example.org"]})
    assert config.dns.to_json() == {"nameservers": ["192.0.2.1", "2001:db8::1"], "search": ["example.org"]}


# --- VLANs (rows B-001 to B-013, B-180 to B-182, X-13) -------------------------------------------------------------


@pytest.mark.parametrize(
    ("trunk", "vids"),
    [
        pytest.param([], set(), id="B-001"),
        pytest.param([{"minID": 100, "maxID": 105}], set(range(100, 106)), id="B-002"),
        pytest.param([{"id": 10}], {10}, id="B-003"),
        pytest.param([{"id": 10}, {"minID": 100, "maxID": 105}], {10, *range(100, 106)}, id="B-004"),
        pytest.param([{"id": 10, "minID": 100, "maxID": 105}], {10, *range(100, 106)}, id="id and range in one"),
        pytest.param([{"id": 10}, {"id": 10}, {"minID": 9, "maxID": 11}], {9, 10, 11}, id="overlap"),
        pytest.param([{"minID": 7, "maxID": 7}], {7}, id="range of one"),
        pytest.param([{"minID": 1, "maxID": 4094}], set(range(1, 4095)), id="all"),
        pytest.param([{"ID": 10, "minid": 20, "MAXID": 21}], {10, 20, 21}, id="any case"),
        pytest.param([{"id": 10, "minID": None, "maxID": None}], {10}, id="null is absent"),
    ],
)
def test_trunk_lists_ids_and_ranges(trunk: list[dict[str, Any]], vids: set[int]) -> None:
    """Entries may be ids, ranges or both, in any order, and overlap."""
    assert load(vlanTrunk=trunk).trunk == vids


@pytest.mark.parametrize(
    ("item", "path", "cause"),
    [
        pytest.param({"minID": 100}, "", "minID and maxID go together: maxID is missing", id="B-005"),
        pytest.param({"maxID": 105}, "", "minID and maxID go together: minID is missing", id="B-006"),
        pytest.param({"minID": -1, "maxID": 105}, ".minID", "must be a VLAN ID, 1-4094", id="B-007"),
        pytest.param({"minID": 5000, "maxID": 105}, ".minID", "must be a VLAN ID, 1-4094", id="B-008"),
        pytest.param({"minID": 100, "maxID": 5000}, ".maxID", "must be a VLAN ID, 1-4094", id="B-009"),
        pytest.param({"minID": 100, "maxID": -1}, ".maxID", "must be a VLAN ID, 1-4094", id="B-010"),
        pytest.param({"id": 5000}, ".id", "must be a VLAN ID, 1-4094", id="B-011"),
        pytest.param({"id": -1}, ".id", "must be a VLAN ID, 1-4094", id="B-012"),
        pytest.param({"minID": 1000, "maxID": 100}, "", "minID 1000 is greater than maxID 100", id="B-013"),
        pytest.param({"id": 0}, ".id", "must be a VLAN ID, 1-4094", id="id 0"),
        pytest.param({"id": 4095}, ".id", "must be a VLAN ID, 1-4094", id="id 4095"),
        pytest.param({"minID": 0, "maxID": 5}, ".minID", "must be a VLAN ID, 1-4094", id="minID 0"),
        pytest.param({"id": 10, "minID": 100}, "", "maxID is missing", id="id and half a range"),
        pytest.param({"id": "10"}, ".id", "valid integer", id="text"),
        pytest.param({"id": 10.0}, ".id", "valid integer", id="fraction"),
        pytest.param({"id": True}, ".id", "valid integer", id="truth value"),
        pytest.param({}, "", "needs id, or minID and maxID", id="empty"),
        pytest.param({"id": None}, "", "needs id, or minID and maxID", id="null id"),
        pytest.param(None, "", "valid dictionary", id="X-13"),
        pytest.param(100, "", "valid dictionary", id="number"),
        pytest.param([100], "", "valid dictionary", id="list"),
    ],
)
def test_trunk_entry_that_is_invalid_is_refused_by_its_path(item: object, path: str, cause: str) -> None:
    """Each fault of an entry is named by its place in the list (code 7)."""
    error = refuse(vlanTrunk=[{"id": 10}, item])
    assert type(error) is InvalidNetworkConfig
    assert error.msg.startswith(f"invalid network configuration: vlanTrunk[1]{path}: ")
    assert cause in error.msg


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        pytest.param(0, None, id="B-180"),
        pytest.param(-100, "must be 0 for none, or a VLAN ID, 1-4094, got -100", id="B-181"),
        pytest.param(5000, "must be 0 for none, or a VLAN ID, 1-4094, got 5000", id="B-182"),
    ],
)
def test_vlan_is_none_or_a_vlan_id(value: int, fault: str | None) -> None:
    """A VLAN out of range is refused with what it may be."""
    if fault is None:
        assert load(vlan=value).vlan == value
    else:
        assert refuse(vlan=value).msg == f"invalid network configuration: vlan: {fault}"


@pytest.mark.parametrize("item", [{"id": 10, "vlan": 5}, {"idd": 10}, {"id": 10, "min_id": 5, "max_id": 6}])
def test_trunk_entry_with_unknown_keys_is_unsupported(item: dict[str, Any]) -> None:
    """A typing mistake in a trunk would lose VLANs without a word, so it is refused with key and value (code 2)."""
    unknown = {key: value for key, value in item.items() if key != "id"}
    error = refuse(vlanTrunk=[item])
    assert type(error) is UnsupportedField
    for key, value in unknown.items():
        assert f"vlanTrunk[0].{key}: unknown key, got {value}" in error.msg


def test_trunk_entry_with_unknown_keys_and_other_faults_is_invalid() -> None:
    """Code 2 is for unknown keys and nothing else; with another fault it is code 7, and both are listed."""
    error = refuse(vlanTrunk=[{"id": 0, "vlan": 5}])
    assert type(error) is InvalidNetworkConfig
    assert "vlanTrunk[0].id: " in error.msg
    assert "vlanTrunk[0].vlan: unknown key" in error.msg


@given(st.lists(st.tuples(st.integers(1, 4094), st.integers(1, 4094)), max_size=8))
def test_trunk_of_any_ranges_has_exactly_their_vids(pairs: list[tuple[int, int]]) -> None:
    """A trunk is the union of its entries."""
    items = [{"minID": min(pair), "maxID": max(pair)} for pair in pairs]
    expected = {vid for pair in pairs for vid in range(min(pair), max(pair) + 1)}
    assert load(vlanTrunk=items).trunk == expected


@pytest.mark.parametrize(
    ("keys", "needs"),
    [
        ({}, False),
        ({"vlan": 0, "vlanTrunk": []}, False),
        ({"vlan": 1}, True),
        ({"vlanTrunk": [{"id": 5}]}, True),
        ({"vlan": 100, "vlanTrunk": [{"id": 5}]}, True),
    ],
)
def test_filtering_is_needed_as_soon_as_a_vlan_is_asked_for(keys: dict[str, Any], needs: bool) -> None:
    """An attachment with a VLAN is isolated only on a bridge that filters."""
    assert load(**keys).needs_filtering == needs


# --- MAC and CNI_ARGS (rows B-110 to B-112, L-22, X-25) ------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "keys", "mac"),
    [
        pytest.param("", {}, "", id="nobody asks"),
        pytest.param(f"MAC={MAC_1}", {}, MAC_1, id="B-110"),
        pytest.param(f"MAC={MAC_1}", {"args": {"cni": {"mac": MAC_2}}}, MAC_2, id="B-111"),
        pytest.param(
            f"MAC={MAC_1}", {"args": {"cni": {"mac": MAC_2}}, "RuntimeConfig": {"mac": MAC_3}}, MAC_3, id="B-112"
        ),
        pytest.param("", {"args": {"cni": {"mac": MAC_2}}}, MAC_2, id="args alone"),
        pytest.param("", {"runtimeConfig": {"mac": MAC_3}}, MAC_3, id="runtimeConfig alone"),
        pytest.param(f"MAC={MAC_1}", {"runtimeConfig": {"mac": MAC_3}}, MAC_3, id="runtimeConfig over CNI_ARGS"),
        pytest.param(
            f"MAC={MAC_1}",
            {"args": {"cni": {"mac": ""}}, "runtimeConfig": {"mac": None}},
            MAC_1,
            id="empty and null ask for nothing",
        ),
        pytest.param("MAC=", {"args": {"cni": {"mac": MAC_2}}}, MAC_2, id="empty in CNI_ARGS"),
        pytest.param("MAC=0000.5E00.5301", {}, MAC_1, id="another form"),
    ],
)
def test_mac_comes_from_runtime_config_then_args_then_cni_args(arguments: str, keys: dict[str, Any], mac: str) -> None:
    """The order of precedence is the reference's; the MAC is in colon form."""
    assert netconf.choose_mac(load(**keys), make_call({}, arguments)) == mac


@pytest.mark.parametrize("text", ["zz", "01:00:5e:90:10:00", "00:00:00:00:00:00", "02:00:5e:10:00:00:00:01"])
def test_mac_in_cni_args_that_is_invalid_is_refused_even_when_another_wins(text: str) -> None:
    """A fault in CNI_ARGS is a fault of the environment (code 4), whoever else asks for a MAC."""
    for keys in ({}, {"runtimeConfig": {"mac": MAC_3}}):
        with pytest.raises(InvalidEnvironment) as caught:
            netconf.choose_mac(load(**keys), make_call({}, f"MAC={text}"))
        assert caught.value.msg.startswith("invalid CNI_ARGS: MAC: ")
        assert text in caught.value.msg


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", {}),
        (f"MAC={MAC_1}", {"MAC": MAC_1}),
        ("IgnoreUnknown=1", {"IgnoreUnknown": "1"}),
        (f"IgnoreUnknown=0;MAC={MAC_1}", {"IgnoreUnknown": "0", "MAC": MAC_1}),
        *((f"IgnoreUnknown={yes};K=V", {"IgnoreUnknown": yes, "K": "V"}) for yes in ("1", "true", "True", "TRUE")),
        ("K=V;IgnoreUnknown=1", {"K": "V", "IgnoreUnknown": "1"}),
        ("IgnoreUnknown=1;K8S_POD_NAME=a;K=", {"IgnoreUnknown": "1", "K8S_POD_NAME": "a", "K": ""}),
        ("IgnoreUnknown=1;mac=zz", {"IgnoreUnknown": "1", "mac": "zz"}),
        ("IgnoreUnknown=false", {"IgnoreUnknown": "false"}),
    ],
)
def test_cni_args_are_pairs_and_unknown_ones_pass_when_told_so(text: str, pairs: dict[str, str]) -> None:
    """`KEY=VALUE` pairs, keys case-sensitive; IgnoreUnknown lets keys pass that we do not know, wherever it stands."""
    assert netconf.parse_arguments(text) == pairs


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("MAC", "'MAC' is not KEY=VALUE"),
        ("MAC=a=b", "'MAC=a=b' is not KEY=VALUE"),
        (";", "'' is not KEY=VALUE"),
        (f"MAC={MAC_1};", "'' is not KEY=VALUE"),
        (f";MAC={MAC_1}", "'' is not KEY=VALUE"),
        (f"IgnoreUnknown=1;;MAC={MAC_1}", "'' is not KEY=VALUE"),
        ("IgnoreUnknown=1;K", "'K' is not KEY=VALUE"),
        ("K=V", "unknown args ['K=V']"),
        ("K=V;L=W", "unknown args ['K=V', 'L=W']"),
        (f"mac={MAC_1}", f"unknown args ['mac={MAC_1}']"),
        *((f"IgnoreUnknown={no};K=V", "unknown args ['K=V']") for no in ("0", "false", "False", "FALSE")),
        ("ignoreunknown=1", "unknown args ['ignoreunknown=1']"),
        ("IgnoreUnknown=yes", "IgnoreUnknown='yes' is no boolean"),
        ("IgnoreUnknown=2;K=V", "IgnoreUnknown='2' is no boolean"),
    ],
)
def test_cni_args_that_are_malformed_or_unknown_are_refused(text: str, cause: str) -> None:
    """Faults of CNI_ARGS are faults of the environment (code 4) and quote the whole of it."""
    with pytest.raises(InvalidEnvironment) as caught:
        netconf.parse_arguments(text)
    assert caught.value.msg == f"invalid CNI_ARGS: {cause}"
