"""What is asked of an IPAM plugin, and what routes its answer gives."""

import ipaddress
import json
from pathlib import Path
from typing import Any

import pytest

from cni_harvester.attach import ipam
from cni_harvester.attach.undo import UndoStack
from cni_harvester.cni.netconf import NetworkConfig, load_network_config
from cni_harvester.cni.request import Call, Request
from cni_harvester.cni.result import Result, parse_result
from cni_harvester.errors import DelegateFailed, HarvesterError, InvalidNetworkConfig, NotOurs
from cni_harvester.kernel.handle import log_change
from cni_harvester.kernel.routes import KernelRoute

V4_DEFAULT, V6_DEFAULT = ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")
GATEWAY_1, GATEWAY_2 = ipaddress.ip_address("192.0.2.1"), ipaddress.ip_address("192.0.2.2")
GATEWAY_6 = ipaddress.ip_address("2001:db8::1")


def make_answer(**document: Any) -> Result:
    """Make an IPAM plugin's answer."""
    return parse_result(document, config_version="1.1.0", what="answer")


def request(directory: Path, script: str, error: HarvesterError | None = None) -> Result:
    """Ask a plugin that is a shell script for addresses; fail afterwards if told so."""
    program = directory / "test-ipam"
    program.write_text(f'#!/bin/sh\necho "$CNI_COMMAND" >> "$RECORD"\n{script}')
    program.chmod(0o755)
    document = {"cniVersion": "1.0.0", "name": "n", "bridge": "cn1-br", "ipam": {"type": "test-ipam"}}
    environment = {"CNI_COMMAND": "ADD", "CNI_PATH": str(directory), "RECORD": str(directory / "commands")}
    call = Call("ADD", "n", "1.0.0", document, Request(environment, json.dumps(document).encode()))
    config: NetworkConfig = load_network_config(call)
    with UndoStack() as undo:
        answer = ipam.request_addresses(call, config, undo, trace=log_change)
        if error:
            raise error
        return answer


def read_commands(directory: Path) -> list[str]:
    """Return the commands that the plugin got."""
    return (directory / "commands").read_text().split()


def test_addresses_come_from_the_plugins_answer(tmp_path: Path) -> None:
    """The answer is read in its own version, and the plugin called once."""
    answer = request(tmp_path, """echo '{"cniVersion":"0.2.0","ip4":{"ip":"192.0.2.5/24"}}'""")
    assert [str(ip.address) for ip in answer.ips] == ["192.0.2.5/24"]
    assert read_commands(tmp_path) == ["ADD"]


def test_addresses_without_a_version_are_read_in_the_configurations(tmp_path: Path) -> None:
    """An answer without `cniVersion` is one of the configuration's version."""
    answer = request(tmp_path, """echo '{"ips":[{"address":"2001:db8::5/64"}]}'""")
    assert [str(ip.address) for ip in answer.ips] == ["2001:db8::5/64"]


@pytest.mark.parametrize("output", ["", "{}", '{"ips":[]}', '{"ips":null,"routes":[{"dst":"0.0.0.0/0"}]}'])
def test_plugin_that_gives_no_address_has_failed(tmp_path: Path, output: str) -> None:
    """An answer without any address is an error of code 114, and what was reserved is released."""
    with pytest.raises(DelegateFailed) as caught:
        request(tmp_path, f"echo '{output}'")
    assert (caught.value.code, caught.value.msg) == (114, 'IPAM plugin "test-ipam" returned no IP address')
    assert read_commands(tmp_path) == ["ADD", "DEL"]


def test_plugin_that_fails_is_asked_to_delete(tmp_path: Path) -> None:
    """A failed ADD may have reserved something, so its DEL is run; the error is the plugin's own."""
    with pytest.raises(DelegateFailed) as caught:
        request(tmp_path, """[ $CNI_COMMAND = DEL ] || { echo '{"code":77,"msg":"no lease"}'; exit 1; }""")
    assert (caught.value.code, caught.value.msg) == (77, "no lease")
    assert read_commands(tmp_path) == ["ADD", "DEL"]


def test_plugin_whose_answer_is_invalid_is_asked_to_delete(tmp_path: Path) -> None:
    """An answer that cannot be used is named with its fault, and its reservation is released."""
    with pytest.raises(InvalidNetworkConfig, match='invalid result of IPAM plugin "test-ipam": ips'):
        request(tmp_path, """echo '{"ips":[{"address":"192.0.2.5"}]}'""")
    assert read_commands(tmp_path) == ["ADD", "DEL"]


def test_addresses_are_released_when_a_later_step_fails(tmp_path: Path) -> None:
    """What was reserved does not leak."""
    with pytest.raises(NotOurs):
        request(tmp_path, """echo '{"ips":[{"address":"192.0.2.5/24"}]}'""", NotOurs("m"))
    assert read_commands(tmp_path) == ["ADD", "DEL"]


@pytest.mark.parametrize(
    ("answer", "planned"),
    [
        pytest.param(make_answer(), [], id="none"),
        pytest.param(make_answer(ips=[{"address": "192.0.2.5/24", "gateway": "192.0.2.1"}]), [], id="gateway alone"),
        pytest.param(
            make_answer(ips=[{"address": "192.0.2.5/24", "gateway": "192.0.2.1"}], routes=[{"dst": "0.0.0.0/0"}]),
            [KernelRoute(V4_DEFAULT, GATEWAY_1)],
            id="through the address's gateway",
        ),
        pytest.param(
            make_answer(
                ips=[{"address": "192.0.2.5/24", "gateway": "192.0.2.1"}],
                routes=[{"dst": "0.0.0.0/0", "gw": "192.0.2.2"}],
            ),
            [KernelRoute(V4_DEFAULT, GATEWAY_2)],
            id="through its own gateway",
        ),
        pytest.param(
            make_answer(ips=[{"address": "192.0.2.5/24"}], routes=[{"dst": "0.0.0.0/0"}]),
            [KernelRoute(V4_DEFAULT)],
            id="on the link",
        ),
        pytest.param(
            make_answer(
                ips=[{"address": "192.0.2.5/24", "gateway": "192.0.2.1"}],
                routes=[{"dst": "203.0.113.0/24", "scope": 253}],
            ),
            [KernelRoute(ipaddress.ip_network("203.0.113.0/24"), scope=253)],
            id="on the link, whatever the gateway",
        ),
        pytest.param(
            make_answer(
                ips=[
                    {"address": "192.0.2.4/24"},
                    {"address": "192.0.2.5/24", "gateway": "192.0.2.1"},
                    {"address": "192.0.2.6/24", "gateway": "192.0.2.2"},
                    {"address": "2001:db8::5/64", "gateway": "2001:db8::1"},
                ],
                routes=[{"dst": "::/0"}, {"dst": "0.0.0.0/0"}],
            ),
            [KernelRoute(V6_DEFAULT, GATEWAY_6), KernelRoute(V4_DEFAULT, GATEWAY_1)],
            id="through the first gateway of its family",
        ),
        pytest.param(
            make_answer(ips=[{"address": "2001:db8::5/64", "gateway": "2001:db8::1"}], routes=[{"dst": "0.0.0.0/0"}]),
            [KernelRoute(V4_DEFAULT)],
            id="never through the other family's",
        ),
        pytest.param(
            make_answer(
                routes=[
                    {"dst": "203.0.113.7/24", "mtu": 1400, "advmss": 1360},
                    {"dst": "203.0.113.0/24", "priority": 7, "table": 100, "scope": 253},
                    {"dst": "203.0.113.0/24", "table": 0, "scope": 0},
                ]
            ),
            [
                KernelRoute(ipaddress.ip_network("203.0.113.0/24"), mtu=1400, advmss=1360),
                KernelRoute(ipaddress.ip_network("203.0.113.0/24"), priority=7, table=100, scope=253),
                KernelRoute(ipaddress.ip_network("203.0.113.0/24"), scope=0),
            ],
            id="all keys",
        ),
    ],
)
def test_routes_of_an_answer_are_the_kernels(answer: Result, planned: list[KernelRoute]) -> None:
    """Each route keeps its order and keys; one without a gateway goes through the first address's of its family."""
    assert ipam.plan_routes(answer) == planned
