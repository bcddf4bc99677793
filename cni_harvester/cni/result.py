"""Results: what an ADD prints, and what other plugins hand to us, in every version of the specification.

CNI specification, section 5 "Result Types". Conversions drop what a version cannot hold, as libcni's do.
"""

import ipaddress
from typing import Annotated, Any

from pydantic import ConfigDict, Field, PlainValidator

from cni_harvester.cni import versions
from cni_harvester.cni.document import Document
from cni_harvester.cni.netconf import Dns
from cni_harvester.errors import DecodeFailed, IncompatibleVersion

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpInterface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def _read_address(value: object) -> IpAddress:
    return value if isinstance(value, IpAddress) else ipaddress.ip_address(_require_text(value))


def _read_interface(value: object) -> IpInterface:
    if isinstance(value, IpInterface):
        return value
    text = _require_text(value)
    if "/" not in text:
        raise ValueError("needs a prefix length, such as 192.0.2.5/24")
    return ipaddress.ip_interface(text)


def _read_network(value: object) -> IpNetwork:
    return value if isinstance(value, IpNetwork) else ipaddress.ip_network(_require_text(value), strict=False)


def _require_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")  # noqa: TRY004 - pydantic reports a ValueError
    return value


Address = Annotated[IpAddress, PlainValidator(_read_address)]
InterfaceAddress = Annotated[IpInterface, PlainValidator(_read_interface)]
Network = Annotated[IpNetwork, PlainValidator(_read_network)]


class Interface(Document):
    """An interface that a plugin made; `sandbox` is the container's namespace, empty for one of the node."""

    model_config = ConfigDict(extra="allow")

    name: str
    mac: str = ""
    mtu: int = 0
    sandbox: str = ""


class Ip(Document):
    """An address with its prefix; `interface` is an index in the result's interfaces."""

    address: InterfaceAddress
    gateway: Address | None = None
    interface: int | None = None


class Route(Document):
    """A route of the container; 0 or None where nothing is said."""

    dst: Network
    gw: Address | None = None
    mtu: int = 0
    advmss: int = 0
    priority: int = 0
    table: int | None = None
    scope: int | None = None


class Result(Document):
    """A result, whatever version it came in."""

    cni_version: str = Field(default="", alias="cniVersion")
    interfaces: list[Interface] = []
    ips: list[Ip] = []
    routes: list[Route] = []
    dns: Dns = Dns()


class _OldIp(Document):
    ip: InterfaceAddress
    gateway: Address | None = None
    routes: list[Route] = []


class _OldResult(Document):
    ip4: _OldIp | None = None
    ip6: _OldIp | None = None
    dns: Dns = Dns()


def parse_result(document: object, *, config_version: str, what: str) -> Result:
    """Read a result of any supported version; one without a version has the configuration's.

    Raises:
        InvalidNetworkConfig: with all faults, by JSON path.
        IncompatibleVersion: its version is not supported.
    """
    if not isinstance(document, dict):
        raise DecodeFailed(f"error decoding {what}: it is not a JSON object")
    found = next((value for key, value in document.items() if key.lower() == "cniversion"), None) or config_version
    if found not in versions.SUPPORTED:
        raise IncompatibleVersion(f"incompatible CNI version {found!r} of {what}", "it must be a supported one")
    if versions.is_at_least(found, "0.3.0"):
        return Result.parse(document, what)
    old = _OldResult.parse(document, what)
    present = [ip for ip in (old.ip4, old.ip6) if ip]
    return Result(
        ips=[Ip(address=ip.ip, gateway=ip.gateway) for ip in present],
        routes=[route for ip in present for route in ip.routes],
        dns=old.dns,
    )


def format_result(result: Result, version: str) -> dict[str, Any]:
    """Write a result in a version.

    Raises:
        IncompatibleVersion: a result without addresses in a version before 0.3.0, which knows nothing else.
    """
    if not versions.is_at_least(version, "0.3.0"):
        return _format_old(result, version)
    modern = versions.is_at_least(version, "1.0.0")
    document: dict[str, Any] = {
        "cniVersion": version,
        "interfaces": [_format_interface(interface, modern) for interface in result.interfaces],
        "ips": [_format_ip(ip, modern) for ip in result.ips],
        "routes": [_format_route(route) for route in result.routes],
    }
    document = {key: value for key, value in document.items() if value}
    dns = result.dns.to_json()
    if dns or not modern:
        document["dns"] = dns
    return document


def require_expressible(version: str, *, has_ipam: bool) -> None:
    """Refuse, before anything is changed, an attachment whose result its version cannot hold."""
    if not has_ipam and not versions.is_at_least(version, "0.3.0"):
        raise IncompatibleVersion(
            f'incompatible CNI versions: the result of a layer-2 attachment cannot be expressed in "{version}"',
            "cannot convert: no valid IP addresses; set cniVersion to 0.3.0 or later",
        )


def _format_interface(interface: Interface, modern: bool) -> dict[str, Any]:
    extra = interface.model_extra or {}
    document = {key: value for key, value in interface.model_dump().items() if value or key in extra}
    return document if modern else {key: document[key] for key in ("name", "mac", "sandbox") if key in document}


def _format_ip(ip: Ip, modern: bool) -> dict[str, Any]:
    document: dict[str, Any] = {} if modern else {"version": str(ip.address.version)}
    document["address"] = str(ip.address)
    if ip.gateway:
        document["gateway"] = str(ip.gateway)
    if ip.interface is not None:
        document["interface"] = ip.interface
    return document


def _format_route(route: Route) -> dict[str, Any]:
    document: dict[str, Any] = {"dst": str(route.dst)}
    if route.gw:
        document["gw"] = str(route.gw)
    numbers = {"mtu": route.mtu, "advmss": route.advmss, "priority": route.priority}
    document.update({key: value for key, value in numbers.items() if value})
    document.update({k: v for k, v in (("table", route.table), ("scope", route.scope)) if v is not None})
    return document


def _format_old(result: Result, version: str) -> dict[str, Any]:
    document: dict[str, Any] = {"cniVersion": version}
    for key, family in (("ip4", 4), ("ip6", 6)):
        ip = next((ip for ip in result.ips if ip.address.version == family), None)
        if ip is None:
            continue
        old: dict[str, Any] = {"ip": str(ip.address)}
        if ip.gateway:
            old["gateway"] = str(ip.gateway)
        routes = [route for route in result.routes if route.dst.version == family]
        if routes:
            old["routes"] = [_format_route(Route(dst=route.dst, gw=route.gw)) for route in routes]
        document[key] = old
    if len(document) == 1:
        require_expressible(version, has_ipam=False)
    document["dns"] = result.dns.to_json()
    return document
