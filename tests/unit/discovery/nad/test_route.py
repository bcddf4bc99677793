"""The annotation `network.harvesterhci.io/route`: read, refused, written."""

import json
import sys
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cni_harvester.discovery.nad.route import format_route, parse_route
from cni_harvester.errors import HarvesterError, InvalidNetworkConfig
from cni_harvester.model import route as rules
from cni_harvester.model.route import Route

CIDR, GATEWAY, SERVER = ip_network("192.0.2.0/24"), ip_address("192.0.2.1"), ip_address("192.0.2.3")
MANUAL = {"mode": "manual", "cidr": "192.0.2.0/24", "gateway": "192.0.2.1"}
KEYS = ("mode", "serverIPAddr", "cidr", "gateway", "connectivity", "outdated")


def parse(**keys: Any) -> Route:
    """Read an annotation of these keys."""
    return parse_route(json.dumps(keys))


def refuse(text: str) -> str:
    """Return the message with which an annotation is refused."""
    with pytest.raises(HarvesterError) as caught:
        parse_route(text)
    assert type(caught.value) is InvalidNetworkConfig
    return caught.value.msg


# --- reading -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", " \n", "{}", '{"mode":"","cidr":"","gateway":"","serverIPAddr":""}'])
def test_annotation_that_says_nothing_is_an_empty_route(text: str) -> None:
    """Every key is optional, and empty text means that it is not set."""
    assert parse_route(text) == Route()


def test_annotation_of_the_user_interface_is_read() -> None:
    """It always writes five keys, empty ones too."""
    keys = {"mode": "auto", "serverIPAddr": "", "cidr": "", "gateway": "", "connectivity": ""}
    assert parse(**keys) == Route("auto")


def test_annotation_with_every_key_is_read() -> None:
    """Each key has its place."""
    written = parse(
        mode="auto",
        serverIPAddr="192.0.2.3",
        cidr="192.0.2.0/24",
        gateway="192.0.2.1",
        connectivity="ping failed",
        outdated=True,
    )
    assert written == Route("auto", CIDR, GATEWAY, SERVER, "ping failed", outdated=True)


@pytest.mark.parametrize("value", rules.CONNECTIVITY)
def test_annotation_has_one_of_the_known_states(value: str) -> None:
    """All four words of Harvester are read."""
    assert parse(connectivity=value).connectivity == value


@pytest.mark.parametrize("case", [str.upper, str.lower])
def test_key_is_read_in_any_case_and_null_is_not_given(case: Any) -> None:
    """As Go's decoder has it, by which all annotations were written so far."""
    assert parse(**{case("serverIPAddr"): "192.0.2.3", case("cidr"): None}) == Route(server=SERVER)


def test_unknown_key_is_left_alone() -> None:
    """Another program's key is no fault."""
    assert parse(mode="auto", since="yesterday", nested={"a": [1]}) == Route("auto")


def test_manual_route_of_a_network_written_with_an_address_is_read() -> None:
    """Go clears the bits behind the mask, so people write such networks."""
    assert parse(**MANUAL | {"cidr": "192.0.2.1/24"}) == Route("manual", CIDR, GATEWAY)


def test_text_of_nothing_is_absent_in_mode_auto() -> None:
    """Releases of Harvester wrote it for an answer without a router."""
    assert parse(mode="auto", cidr="<nil>", gateway="<nil>") == Route("auto")


def test_gateway_that_was_found_wrongly_does_not_stand_in_the_way_of_the_next_discovery() -> None:
    """In mode auto the rules of the pair are not applied on reading."""
    assert parse(mode="auto", cidr="192.0.2.0/24", gateway="198.51.100.1").gateway == ip_address("198.51.100.1")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"mode": "static"}, "mode: must be one of 'auto', 'manual', or empty, got 'static'"),
        ({"mode": "AUTO"}, "mode: must be one of 'auto', 'manual', or empty, got 'AUTO'"),
        ({"mode": 5}, "mode: input should be a valid string, got 5"),
        (
            {"connectivity": "unknown"},
            "connectivity: must be one of 'true', 'false', 'DHCP failed', 'ping failed', or empty, got 'unknown'",
        ),
        ({"connectivity": True}, "connectivity: input should be a valid string, got True"),
        ({"outdated": "true"}, "outdated: input should be a valid boolean, got 'true'"),
        ({"serverIPAddr": "dhcp.example"}, "serverIPAddr: must be an IP address such as 192.0.2.1, got 'dhcp.example'"),
        ({"serverIPAddr": "<nil>"}, "serverIPAddr: must be an IP address such as 192.0.2.1, got '<nil>'"),
        ({"gateway": "192.0.2.256"}, "gateway: must be an IP address such as 192.0.2.1, got '192.0.2.256'"),
        ({"gateway": "fe80::1%eth0"}, "gateway: must be an IP address such as 192.0.2.1, got 'fe80::1%eth0'"),
        ({"gateway": "192.0.2.1\n"}, "gateway: must be an IP address such as 192.0.2.1, got '192.0.2.1\\n'"),
        ({"gateway": "<nil>"}, "gateway: must be an IP address such as 192.0.2.1, got '<nil>'"),
        ({"mode": "auto", "gateway": "?0a0000010a000002"}, "gateway: must be an IP address such as 192.0.2.1, got '?0"),
        ({"mode": "auto", "gateway": " <nil>"}, "gateway: must be an IP address such as 192.0.2.1, got ' <nil>'"),
        ({"cidr": "192.0.2.0"}, "cidr: must be a network such as 192.0.2.0/24, got '192.0.2.0'"),
        ({"cidr": "192.0.2.0/33"}, "cidr: must be a network such as 192.0.2.0/24, got '192.0.2.0/33'"),
        ({"cidr": "192.0.2.0/255.255.255.0"}, "cidr: must be a network such as 192.0.2.0/24, got '192.0.2.0/255."),
        ({"cidr": "192.0.2.0/\u0662\u0664"}, "cidr: must be a network such as 192.0.2.0/24, got '192.0.2.0/"),
        ({"cidr": ["192.0.2.0/24"]}, "cidr: input should be a valid string, got ['192.0.2.0/24']"),
        ({"mode": "manual", "gateway": "192.0.2.1"}, "cidr: must be given in mode manual, got ''"),
        (MANUAL | {"gateway": ""}, "gateway: must be given in mode manual, got ''"),
        (MANUAL | {"gateway": "<nil>"}, "gateway: must be an IP address such as 192.0.2.1, got '<nil>'"),
        (MANUAL | {"cidr": "0.0.0.0/0"}, "cidr 0.0.0.0/0 has an empty mask"),
        (MANUAL | {"gateway": "192.0.2.0"}, "gateway 192.0.2.0 is the network address of cidr 192.0.2.0/24"),
    ],
)
def test_value_that_no_reader_can_use_is_refused_by_its_path(keys: dict[str, Any], message: str) -> None:
    """Each fault is named with its path and the value."""
    assert refuse(json.dumps(keys)).startswith(f"invalid route annotation: {message}")


def test_all_faults_are_reported_together() -> None:
    """Nobody has to find them one by one."""
    text = '{"mode":"manual","cidr":"x","connectivity":"y","outdated":1,"serverIPAddr":"z"}'
    message = refuse(text)
    for path in ("cidr", "gateway", "connectivity", "outdated", "serverIPAddr"):
        assert f" {path}: " in message
    assert "mode: " not in message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "it is not a JSON object"),
        ("null", "it is not a JSON object"),
        ("mode: auto", "Expecting value"),
        ('{"mode":"auto"} {}', "Extra data"),
        ('{"mode":"auto"', "Expecting ',' delimiter"),
        ('{"a":NaN}', "NaN is not JSON"),
        ('{"a":"\ud800"}', "'utf-8' codec can't decode"),
    ],
)
def test_annotation_that_is_no_json_object_is_refused(text: str, reason: str) -> None:
    """The message says why."""
    assert refuse(text).startswith(f"invalid route annotation: {reason}")


# --- writing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("route", "text"),
    [
        (Route(), "{}"),
        (Route("auto"), '{"mode":"auto"}'),
        (
            Route("auto", CIDR, GATEWAY, SERVER, "true", outdated=True),
            '{"mode":"auto","serverIPAddr":"192.0.2.3","cidr":"192.0.2.0/24","gateway":"192.0.2.1",'
            '"connectivity":"true","outdated":true}',
        ),
        (
            Route("auto", server=SERVER, connectivity="DHCP failed"),
            '{"mode":"auto","serverIPAddr":"192.0.2.3","connectivity":"DHCP failed"}',
        ),
        (Route(gateway=ip_address("0.0.0.0")), '{"gateway":"0.0.0.0"}'),
    ],
)
def test_route_is_written_as_harvester_does(route: Route, text: str) -> None:
    """Compact, in Harvester's order, without what is empty."""
    assert format_route(route) == text


def test_unknown_keys_of_the_previous_annotation_are_kept_behind_ours() -> None:
    """Known ones go, however they were spelled."""
    previous = '{"since": "yesterday", "CIDR": "198.51.100.0/24", "Mode": "auto", "n": null, "big": 1e5}'
    written = format_route(Route("auto", connectivity="true"), previous)
    assert written == '{"mode":"auto","connectivity":"true","since":"yesterday","n":null,"big":100000.0}'


@pytest.mark.parametrize(
    ("previous", "written"),
    [
        ('{"cidr":"192.0.2.1/24"}', '"192.0.2.1/24"'),
        ('{"cidr":"192.0.2.1/25"}', '"192.0.2.0/24"'),
        ('{"cidr":"garbage"}', '"192.0.2.0/24"'),
        ('{"cidr":5}', '"192.0.2.0/24"'),
        ('{"cidr":null}', '"192.0.2.0/24"'),
    ],
)
def test_network_that_stays_the_same_keeps_its_spelling(previous: str, written: str) -> None:
    """A manual route is its author's, to the letter."""
    assert format_route(Route(cidr=CIDR), previous) == f'{{"cidr":{written}}}'


def test_previous_annotation_that_is_no_json_object_is_refused() -> None:
    """What cannot be kept is not thrown away without a word."""
    with pytest.raises(InvalidNetworkConfig, match="invalid route annotation: it is not a JSON object"):
        format_route(Route(), "[]")


# --- properties ----------------------------------------------------------------------------------------------------

addresses = st.none() | st.ip_addresses()
networks = st.builds(
    lambda address, length: ip_network((address, length % (address.max_prefixlen + 1)), strict=False),
    st.ip_addresses(),
    st.integers(0, 128),
)
others = {
    "server": addresses,
    "connectivity": st.sampled_from(["", *rules.CONNECTIVITY]),
    "outdated": st.booleans(),
}
free_routes = st.builds(
    Route, mode=st.sampled_from(["", "auto"]), cidr=st.none() | networks, gateway=addresses, **others
)
pairs = st.tuples(networks, st.integers(0)).map(lambda pair: (pair[0], pair[0][pair[1] % pair[0].num_addresses]))
manual_routes = pairs.filter(lambda pair: not rules.find_route_faults(*pair)).flatmap(
    lambda pair: st.builds(Route, mode=st.just("manual"), cidr=st.just(pair[0]), gateway=st.just(pair[1]), **others)
)
routes = free_routes | manual_routes
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
unknown = st.dictionaries(
    st.text(max_size=8).filter(lambda key: key.lower() not in {known.lower() for known in KEYS}), values, max_size=3
)


@given(routes, routes | st.none(), unknown)
def test_route_that_is_written_is_read_again(route: Route, previous: Route | None, more: dict[str, Any]) -> None:
    """Whatever stood there before, the route comes back, and so do the keys of others."""
    before = json.dumps(json.loads(format_route(previous)) | more) if previous else json.dumps(more)
    written = format_route(route, before)
    assert parse_route(written) == route
    assert {key: value for key, value in json.loads(written).items() if key not in KEYS} == more
    assert list(json.loads(written))[: -len(more) or None] == [key for key in KEYS if key in json.loads(written)]
    assert format_route(route, written) == written


def damage(text: str, at: int, junk: str, cut: int) -> str:
    """Put junk into a text, and take some of it away."""
    at %= len(text) + 1
    return text[:at] + junk + text[at + cut :]


texts = st.one_of(
    st.builds(
        damage, routes.map(format_route), st.integers(0, 200), st.text(st.characters(), max_size=4), st.integers(0, 40)
    ),
    st.dictionaries(st.sampled_from(KEYS), values | st.sampled_from(["<nil>", "auto", "manual", "::/0"])).map(
        json.dumps
    ),
    st.text(st.characters(), max_size=20),
    st.builds(str.__mul__, st.sampled_from(["[", '{"mode":', "9"]), st.sampled_from([1, 900, 5000])),
)


@settings(max_examples=1000)
@given(texts)
def test_annotation_that_is_broken_in_any_way_is_refused_by_an_error_of_ours(text: str) -> None:
    """Nothing in it is taken for a bug; what is read can be written, and is then the same."""
    try:
        route = parse_route(text)
    except HarvesterError as e:
        assert e.msg.startswith("invalid route annotation: ")
    else:
        assert parse_route(format_route(route, text)) == route


@pytest.mark.parametrize("key", ["mode", "cidr", "outdated", "unknown"])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_annotation_nested_to_any_depth_is_never_taken_for_a_bug(key: str, opening: str, closing: str) -> None:
    """At the interpreter's recursion limit, as everywhere, a value that nests is a fault of the annotation."""
    limit = sys.getrecursionlimit()
    refused = 0
    for depth in range(limit - 150, limit + 10):
        text = f'{{"{key}":{opening * depth}1{closing * depth}}}'
        try:
            format_route(parse_route(text), text)
        except InvalidNetworkConfig:
            refused += 1
    assert refused
