"""Discovery of one network, from joining it to the report; and the check of a route that a person has set."""

import os
import platform
import time
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Interface

from cni_harvester.attach.uplink import find_uplink
from cni_harvester.dhcp.offer import NO_GATEWAY, Offer
from cni_harvester.dhcp.sightings import Sightings
from cni_harvester.dhcp.verdict import Reason, Verdict, judge_sightings, name_server
from cni_harvester.dhcp.wishes import Wishes
from cni_harvester.discovery import inform
from cni_harvester.discovery.facts import DHCP_PRESENT, GATEWAY_ARP, Answer, Fact
from cni_harvester.discovery.machine import Machine, Place, join_network
from cni_harvester.discovery.probe import Probe, Uplink
from cni_harvester.discovery.reachability import check_gateway
from cni_harvester.discovery.report import Discovery
from cni_harvester.kernel import bridge_vlans, links
from cni_harvester.kernel.handle import Handle
from cni_harvester.model.route import Route


def discover(place: Place, wishes: Wishes) -> Discovery:
    """Find out by DHCP which CIDR and gateway a network has, and whether the gateway can be reached.

    Raises:
        HarvesterError: the machine of the probe could not be attached; that says nothing of the network behind.
    """
    at, began_s = datetime.now(UTC), time.monotonic()
    with join_network(place) as machine:
        uplink = _find_uplink(place)
        seen = Probe(machine, uplink, wishes).run()
        verdict = judge_sightings(seen, wishes, str(place), uplink.tag if uplink else None)
        verdict = _complete(machine, wishes, verdict, place)
        offer = verdict.offer
        facts = [_judge_dhcp(verdict)]
        if wishes.check and offer and offer.gateway:
            facts += check_gateway(machine, offer.gateway, wishes.address or _offered(verdict))
    return Discovery(
        place,
        get_node_name(),
        at,
        time.monotonic() - began_s,
        verdict,
        offer.network if offer else None,
        offer.gateway if offer else None,
        tuple(facts),
        tuple(_list_offers(seen, offer)),
        tuple(seen.advertisements),
    )


def check_route(place: Place, route: Route, wishes: Wishes) -> Discovery:
    """Check a route that is known already: whether its gateway can be reached. DHCP is not asked.

    Raises:
        HarvesterError: the machine of the probe could not be attached.
    """
    at, began_s = datetime.now(UTC), time.monotonic()
    facts = [Fact(GATEWAY_ARP, Answer.UNKNOWN, "ARP is for IPv4; an IPv6 gateway is not checked")]
    if isinstance(route.gateway, IPv4Address):
        with join_network(place) as machine:
            facts = check_gateway(machine, route.gateway, wishes.address)
    took_s = time.monotonic() - began_s
    return Discovery(place, get_node_name(), at, took_s, None, route.cidr, route.gateway, tuple(facts))


def get_node_name() -> str:
    """Return the node's name: NODENAME, as Kubernetes passes it to pods, else the host's."""
    return os.environ.get("NODENAME") or platform.node()


def _find_uplink(place: Place) -> Uplink | None:
    """Return the uplink of a network; None when its bridge has none."""
    with Handle() as host:
        bridge = links.find_link(host, place.bridge)
        uplink = find_uplink(host, bridge) if bridge else None
        if bridge is None or uplink is None:
            return None
        if bridge.bridge is None or not bridge.bridge.vlan_filtering:
            return Uplink(uplink.name, None)
        table = bridge_vlans.get_port_vlans(host, uplink)
        vid = place.vlan or bridge.bridge.default_pvid
        return Uplink(uplink.name, None if vid in table.untagged else vid)


def _complete(machine: Machine, wishes: Wishes, verdict: Verdict, place: Place) -> Verdict:
    """Ask the named server for what is missing (DHCPINFORM), if there is an address to ask from."""
    own = wishes.address or _offered(verdict)
    if wishes.server is None or verdict.reason is Reason.FOUND or own is None:
        return verdict
    offer = inform.complete(machine, wishes.server, own, verdict.offer)
    if offer is None or offer.gateway is None:
        return verdict
    text = f"DHCP server {wishes.server} has {offer.network} via {offer.gateway} on {place} (DHCPINFORM)"
    warnings = tuple(warning for warning in verdict.warnings if not warning.endswith(NO_GATEWAY))
    return Verdict(Reason.FOUND, text, offer, warnings)


def _offered(verdict: Verdict) -> IPv4Interface | None:
    """Return the address that was offered, with its prefix length."""
    offer = verdict.offer
    if offer is None or offer.network is None:
        return None
    return IPv4Interface((offer.address, offer.network.prefixlen))


def _judge_dhcp(verdict: Verdict) -> Fact:
    offer = verdict.offer
    if offer:
        return Fact(DHCP_PRESENT, Answer.YES, name_server(offer), offer.answered_s * 1000)
    return Fact(DHCP_PRESENT, Answer.NO, f"no answer that can be used ({verdict.reason.value})")


def _list_offers(seen: Sightings, taken: Offer | None) -> list[Offer]:
    """Return all offers; one that an INFORM completed stands in place of what it was."""
    if taken is None or taken in seen.offers:
        return seen.offers
    others = [o for o in seen.offers if (o.server, o.server_mac) != (taken.server, taken.server_mac)]
    return [taken, *others]
