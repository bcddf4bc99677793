"""The outcome of a survey, as a value and as the JSON document that people and programs get."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from ipaddress import IPv4Address
from typing import Any

from cni_harvester.dhcp.offer import Offer
from cni_harvester.discovery.documents import drop_empty, offer_to_json
from cni_harvester.discovery.survey.evidence import SENDERS_KEPT, Evidence, Stray, VlanNotes
from cni_harvester.discovery.survey.questions import UNTAGGED
from cni_harvester.model.vlan import format_vids
from cni_harvester.wire.spanning_tree import Bpdu
from cni_harvester.wire.switches import Neighbour


class Status(Enum):
    """What is known of a VLAN: frames of it come in at the port, or a switch names it and nothing more."""

    LIVE = "live"
    ADVERTISED = "advertised"


@dataclass(frozen=True)
class Gateway:
    """A gateway that answered ARP: its address, and the MACs that answered for it."""

    address: IPv4Address
    macs: tuple[str, ...]


@dataclass(frozen=True)
class VlanFinding:
    """The evidence for one VLAN.

    Attributes:
        vlan: its VID; 0 for the untagged network.
        offers: what DHCP servers answered in it.
        gateways: those that answered ARP.
        frames: how many other frames were heard; a part of them when the survey had to sample.
        senders: from how many MACs; no more than SENDERS_KEPT are counted.
        bpdus: of its spanning tree.
        advertised: what switches say of it: `native VLAN of sw1, port Gi1/0/1 (LLDP)`.
        names: what switches call it.
    """

    vlan: int
    offers: tuple[Offer, ...] = ()
    gateways: tuple[Gateway, ...] = ()
    frames: int = 0
    senders: int = 0
    bpdus: tuple[Bpdu, ...] = ()
    advertised: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def status(self) -> Status:
        """Live when anything of it came in; what a switch says is not enough."""
        heard = self.offers or self.gateways or self.frames or self.bpdus
        return Status.LIVE if heard else Status.ADVERTISED

    @property
    def label(self) -> str:
        """In the field's words: `VLAN 100`, or `untagged`."""
        return f"VLAN {self.vlan}" if self.vlan else "untagged"


@dataclass(frozen=True)
class SurveyReport:
    """What one survey has found.

    Attributes:
        interface, mac: where it was made, and that interface's MAC.
        node: the node's name.
        at: when it began, in UTC.
        duration_s: how long it took.
        timeout_s: how long each question was listened to.
        asked: the VLANs that were asked for DHCP servers.
        sent: how many frames were sent.
        vlans: the evidence, by VLAN, ascending; the untagged network (0) first. No VLAN without evidence.
        neighbours: switches that announced themselves.
        trees: BPDUs that came untagged.
        strays: answers that came back in another VLAN.
        silent_gateways: (VLAN, address) that were asked for and did not answer ARP.
        is_sampled: the uplink was so busy that only a part of the frames was read.
        lost: how many frames the kernel threw away because we were too slow.
        warnings: what a person should be warned of.
        advice: what it means, and what to do next.
    """

    interface: str
    mac: str
    node: str
    at: datetime
    duration_s: float
    timeout_s: float
    asked: frozenset[int]
    sent: int
    vlans: tuple[VlanFinding, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    trees: tuple[Bpdu, ...] = ()
    strays: tuple[Stray, ...] = ()
    silent_gateways: tuple[tuple[int, IPv4Address], ...] = ()
    is_sampled: bool = False
    lost: int = 0
    warnings: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()

    @property
    def live(self) -> frozenset[int]:
        """VIDs of the live VLANs, the untagged network left out."""
        return frozenset(f.vlan for f in self.vlans if f.vlan and f.status is Status.LIVE)

    def to_json(self) -> dict[str, Any]:
        """The whole of it; keys without a value are left out."""
        return drop_empty(
            {
                "interface": self.interface,
                "mac": self.mac,
                "node": self.node,
                "time": self.at.isoformat(timespec="seconds").replace("+00:00", "Z"),
                "durationSeconds": round(self.duration_s, 3),
                "timeoutSeconds": self.timeout_s,
                "asked": format_vids(self.asked),
                "framesSent": self.sent,
                "live": format_vids(self.live),
                "sampled": self.is_sampled,
                "framesLost": self.lost,
                "switches": [_neighbour_to_json(neighbour) for neighbour in self.neighbours],
                "spanningTrees": [_bpdu_to_json(bpdu) for bpdu in self.trees],
                "vlans": [_finding_to_json(finding) for finding in self.vlans],
                "strayAnswers": [_stray_to_json(stray) for stray in self.strays],
                "silentGateways": [{"vlan": v, "address": str(a)} for v, a in self.silent_gateways],
                "warnings": list(self.warnings),
                "advice": list(self.advice),
            }
        )


def list_findings(evidence: Evidence) -> tuple[VlanFinding, ...]:
    """Join what was heard with what switches say, by VLAN."""
    claims = _list_claims(evidence)
    names = _list_names(evidence)
    live = {vlan for vlan, notes in evidence.vlans.items() if notes.is_live}
    return tuple(
        _make_finding(vlan, evidence.vlans.get(vlan, VlanNotes()), claims.get(vlan, []), names.get(vlan, []))
        for vlan in sorted(live | claims.keys())
    )


def _make_finding(vlan: int, notes: VlanNotes, claims: list[str], names: list[str]) -> VlanFinding:
    return VlanFinding(
        vlan=vlan,
        offers=tuple(notes.offers),
        gateways=tuple(Gateway(address, tuple(macs)) for address, macs in sorted(notes.gateways.items())),
        frames=notes.frames,
        senders=len(notes.senders),
        bpdus=tuple(notes.bpdus.values()),
        advertised=tuple(dict.fromkeys(claims)),
        names=tuple(dict.fromkeys(names)),
    )


def _list_claims(evidence: Evidence) -> dict[int, list[str]]:
    """Return what switches say of each VLAN of the port."""
    claims: dict[int, list[str]] = {}
    for switch in evidence.neighbours.values():
        if switch.native_vlan:
            claims.setdefault(switch.native_vlan, []).append(f"native VLAN of {switch}")
        for vlan in switch.protocol_vlans:
            claims.setdefault(vlan, []).append(f"protocol VLAN of {switch}")
        for vlan, name in switch.vlan_names:
            claims.setdefault(vlan, []).append(f'"{name}" of {switch}')
    for bpdu in evidence.trees.values():
        if bpdu.vlan:
            claims.setdefault(bpdu.vlan, []).append(f"native VLAN of bridge {bpdu.bridge or bpdu.mac} ({bpdu.kind})")
    return claims


def _list_names(evidence: Evidence) -> dict[int, list[str]]:
    names: dict[int, list[str]] = {}
    for switch in evidence.neighbours.values():
        for vlan, name in switch.vlan_names:
            names.setdefault(vlan, []).append(name)
    return names


def _finding_to_json(finding: VlanFinding) -> dict[str, Any]:
    return drop_empty(
        {
            "vlan": finding.vlan,
            "status": finding.status.value,
            "names": list(finding.names),
            "offers": [offer_to_json(offer) for offer in finding.offers],
            "gateways": [{"address": str(g.address), "macs": list(g.macs)} for g in finding.gateways],
            "framesHeard": finding.frames or None,
            "senders": finding.senders or None,
            "sendersAreMore": finding.senders >= SENDERS_KEPT or None,
            "spanningTrees": [_bpdu_to_json(bpdu) for bpdu in finding.bpdus],
            "advertised": list(finding.advertised),
        }
    )


def _bpdu_to_json(bpdu: Bpdu) -> dict[str, Any]:
    return drop_empty(
        {
            "protocol": bpdu.kind,
            "mac": bpdu.mac,
            "root": bpdu.root,
            "bridge": bpdu.bridge,
            "port": bpdu.port,
            "vlan": bpdu.vlan,
            "faults": list(bpdu.faults),
        }
    )


def _neighbour_to_json(switch: Neighbour) -> dict[str, Any]:
    return drop_empty(
        {
            "protocol": switch.protocol,
            "mac": switch.mac,
            "system": switch.system,
            "chassis": switch.chassis,
            "port": switch.port,
            "portDescription": switch.port_description,
            "platform": switch.platform,
            "managementAddresses": [str(address) for address in switch.management],
            "nativeVLAN": switch.native_vlan,
            "protocolVLANs": list(switch.protocol_vlans),
            "vlanNames": [{"vlan": vlan, "name": name} for vlan, name in switch.vlan_names],
            "faults": list(switch.faults),
        }
    )


def _stray_to_json(stray: Stray) -> dict[str, Any]:
    return {
        "asked": stray.asked,
        "heard": stray.heard,
        "server": str(stray.server or ""),
        "serverMAC": stray.server_mac,
    }


def name_vlan(vlan: int) -> str:
    """Name a VLAN in a sentence: `VLAN 100`, or `the untagged network`."""
    return f"VLAN {vlan}" if vlan != UNTAGGED else "the untagged network"
