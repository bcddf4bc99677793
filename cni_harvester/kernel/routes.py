"""Routes through an interface. rtnetlink(7), ip-route(8)."""

import errno as errnos
import ipaddress
from dataclasses import dataclass
from typing import Any

from cni_harvester.kernel.handle import NLM_F_APPEND, NLM_F_CREATE, Handle, refused
from cni_harvester.kernel.links import Link
from cni_harvester.kernel.messages import rtmsg

_RTM_NEWROUTE, _RTM_DELROUTE, _RTM_GETROUTE = 24, 25, 26
_AF = {4: 2, 6: 10}
SCOPE_LINK = 253  # RT_SCOPE_LINK, linux/rtnetlink.h: the destination is on the link itself
_RT_TABLE_MAIN, _RTPROT_UNSPEC, _RTPROT_STATIC, _RTN_UNICAST = 254, 0, 4, 1

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class KernelRoute:
    """A route through one interface; 0 or None where nothing is said. `mtu` and `advmss` are bytes."""

    destination: IpNetwork
    gateway: IpAddress | None = None
    mtu: int = 0
    advmss: int = 0
    priority: int = 0
    table: int = 0
    scope: int | None = None

    def __str__(self) -> str:
        """As ip-route(8) has it, for messages and the trace."""
        words = [str(self.destination), *(["via", str(self.gateway)] if self.gateway else [])]
        for word, value in (
            ("metric", self.priority),
            ("mtu", self.mtu),
            ("advmss", self.advmss),
            ("table", self.table),
        ):
            words += [word, str(value)] if value else []
        return " ".join(words + (["scope", str(self.scope)] if self.scope else []))


def add_route(handle: Handle, link: Link, route: KernelRoute) -> None:
    """Add a route; several with the same destination may stand beside each other, the first is used."""
    command = f"ip route append {route} dev {link.name}"
    try:
        handle.change(_message(link, route), _RTM_NEWROUTE, flags=NLM_F_CREATE | NLM_F_APPEND, command=command)
    except OSError as e:
        if e.errno != errnos.EEXIST:
            raise refused(f"add route {route} to", link.name, e) from e


def remove_route(handle: Handle, link: Link, route: KernelRoute) -> None:
    """Remove a route, whoever added it; quiet when it is gone already, as with the address it was reached through."""
    message = _message(link, route)
    message["proto"] = _RTPROT_UNSPEC
    try:
        handle.change(message, _RTM_DELROUTE, command=f"ip route del {route} dev {link.name}")
    except OSError as e:
        if e.errno not in {errnos.ESRCH, errnos.ENODEV}:
            raise refused(f"remove route {route} from", link.name, e) from e


def _message(link: Link, route: KernelRoute) -> Any:  # noqa: ANN401 - pyroute2 has no types
    message = rtmsg()
    message["family"], message["dst_len"] = _AF[route.destination.version], route.destination.prefixlen
    message["type"], message["proto"] = _RTN_UNICAST, _RTPROT_STATIC
    message["scope"] = route.scope or 0
    message["table"] = route.table if 0 < route.table < 256 else _RT_TABLE_MAIN if not route.table else 0
    message["attrs"] = _attributes(link, route)
    return message


def _attributes(link: Link, route: KernelRoute) -> list[tuple[str, Any]]:
    attributes: list[tuple[str, Any]] = [("RTA_OIF", link.index)]
    if route.destination.prefixlen:
        attributes.append(("RTA_DST", str(route.destination.network_address)))
    if route.gateway:
        attributes.append(("RTA_GATEWAY", str(route.gateway)))
    if route.priority:
        attributes.append(("RTA_PRIORITY", route.priority))
    if route.table:
        attributes.append(("RTA_TABLE", route.table))
    metrics = [(k, v) for k, v in (("RTAX_MTU", route.mtu), ("RTAX_ADVMSS", route.advmss)) if v]
    if metrics:
        attributes.append(("RTA_METRICS", {"attrs": metrics}))
    return attributes


def list_routes(handle: Handle, link: Link) -> list[KernelRoute]:
    """Return the unicast routes through one interface, of both families and all tables."""
    found = []
    for family in _AF.values():
        message = rtmsg()
        message["family"], message["attrs"] = family, [("RTA_OIF", link.index)]
        try:
            answers = handle.dump(message, _RTM_GETROUTE)
        except OSError as e:
            raise refused("list the routes through", link.name, e) from e
        for answer in answers:
            if answer["type"] == _RTN_UNICAST and answer.get_attr("RTA_OIF") == link.index:
                found.append(_parse(answer))  # noqa: PERF401 - two loops in one comprehension read worse
    return found


def _parse(answer: Any) -> KernelRoute:  # noqa: ANN401 - pyroute2 has no types
    any_address = ipaddress.ip_address(bytes(4 if answer["family"] == _AF[4] else 16))
    destination = f"{answer.get_attr('RTA_DST') or any_address}/{answer['dst_len']}"
    gateway = answer.get_attr("RTA_GATEWAY")
    metrics = answer.get_attr("RTA_METRICS")
    return KernelRoute(
        destination=ipaddress.ip_network(destination),
        gateway=ipaddress.ip_address(gateway) if gateway else None,
        mtu=(metrics and metrics.get_attr("RTAX_MTU")) or 0,
        advmss=(metrics and metrics.get_attr("RTAX_ADVMSS")) or 0,
        priority=answer.get_attr("RTA_PRIORITY") or 0,
        table=answer.get_attr("RTA_TABLE") or answer["table"],
        scope=answer["scope"],
    )
