"""The route of a NetworkAttachmentDefinition: what its annotations ask for, and what a discovery writes into them."""

import dataclasses
import json
from collections.abc import Mapping
from ipaddress import IPv4Address
from pathlib import Path

from cni_harvester.cni.request import decode_object
from cni_harvester.dhcp.wishes import Wishes
from cni_harvester.discovery.discover import check_route, discover
from cni_harvester.discovery.machine import Place
from cni_harvester.discovery.nad.file import Nad, update_file
from cni_harvester.discovery.nad.route import DISCOVERY_ANNOTATION, ROUTE_ANNOTATION, format_route, parse_route
from cni_harvester.discovery.report import Discovery
from cni_harvester.discovery.watch import Target
from cni_harvester.errors import DecodeFailed, InvalidNetworkConfig
from cni_harvester.model.route import MANUAL, Route, merge_discovered, plan_outdated


def get_place(nad: Nad) -> Place:
    """Return the network that a NAD joins machines to; InvalidNetworkConfig for a trunk, which has no single route."""
    if nad.is_trunk:
        hint = "discover its VLANs one by one: cni-harvester discover --bridge BRIDGE --vlan VID"
        raise InvalidNetworkConfig(f'cannot discover "{nad.namespace}/{nad.name}": a trunk has many routes', hint)
    return Place(nad.bridge, nad.vlan)


def find_route(nad: Nad) -> Route | None:
    """Return the route that a NAD's annotation has, None when there is none.

    One that was discovered for another VLAN than the NAD has by now is outdated, or gone, as Harvester's webhook would
    have it.

    Raises:
        InvalidNetworkConfig: the annotation is not valid.
    """
    text = nad.annotations.get(ROUTE_ANNOTATION)
    route = None if text is None else parse_route(text)
    probed = _find_probed_vlan(nad)
    return route if probed is None else plan_outdated(route, route, probed, nad.vlan)


def _find_probed_vlan(nad: Nad) -> int | None:
    """Return the VLAN that our own annotation is about; None when there is none that can be read."""
    try:
        vlan = decode_object(nad.annotations.get(DISCOVERY_ANNOTATION, "{}").encode(), "annotation").get("vlan")
    except DecodeFailed:
        return None
    return vlan if type(vlan) is int else None


def make_target(nad: Nad) -> Target:
    """Make a NAD something to watch."""
    route = find_route(nad)
    return Target(f"{nad.namespace}/{nad.name}", get_place(nad), route if route and route.mode == MANUAL else None)


def probe_nad(nad: Nad, wishes: Wishes) -> Discovery:
    """Do what a NAD's route asks for: discover it, from the server that it names; or check one that a person set.

    Raises:
        InvalidNetworkConfig: the annotation is not valid, or the NAD is a trunk.
        HarvesterError: the machine of the probe could not be attached.
    """
    place, route = get_place(nad), find_route(nad)
    if route and route.mode == MANUAL:
        return check_route(place, route, wishes)
    server = route.server if route else None
    if wishes.server is None and server is not None:
        if not isinstance(server, IPv4Address):
            hint = "DHCP here is that of IPv4; leave serverIPAddr out, or set the route to manual"
            raise InvalidNetworkConfig(f"invalid {ROUTE_ANNOTATION}: serverIPAddr: {server} is no IPv4 address", hint)
        wishes = dataclasses.replace(wishes, server=server)
    return discover(place, wishes)


def write_discovery(path: Path, nad: Nad, found: Discovery) -> bool:
    """Write what was found into a NAD's annotations.

    Returns:
        False, and nothing is written, when the NAD has meanwhile come to another VLAN, mode, server or manual route: a
        person's word counts more than what was found for the old one.

    Raises:
        InvalidNetworkConfig, ReadFailed, KernelRefused: see `nad.update_file`.
    """
    return update_file(
        path,
        nad.name,
        nad.namespace,
        plan_annotations(nad, found),
        only_if=lambda now: _asks_for(now) == _asks_for(nad),
    )


def plan_annotations(nad: Nad, found: Discovery) -> Mapping[str, str]:
    """Return the annotations that say what was found."""
    route = Route(cidr=found.cidr, gateway=found.gateway, connectivity=found.connectivity)
    if not found.is_valid:
        route = Route(connectivity=found.connectivity)
    merged = merge_discovered(find_route(nad), route)
    return {
        ROUTE_ANNOTATION: format_route(merged, nad.annotations.get(ROUTE_ANNOTATION, "")),
        DISCOVERY_ANNOTATION: json.dumps(found.to_json(), separators=(",", ":")),
    }


def _asks_for(nad: Nad) -> object:
    """Return what of a NAD a discovery depends on, and must not overwrite."""
    route = find_route(nad) or Route()
    manual = (route.cidr, route.gateway) if route.mode == MANUAL else ()
    return nad.bridge, nad.vlan, route.mode, route.server, manual
