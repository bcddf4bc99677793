"""The network configuration of an attachment, as Harvester and other users of the reference `bridge` plugin write it.

Only `type` has to change for their NetworkAttachmentDefinitions to move over. docs/configuration.md explains each key.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from cni_harvester.cni.document import Document
from cni_harvester.cni.request import Call
from cni_harvester.errors import InvalidEnvironment, UnsupportedField
from cni_harvester.model import mac, names, vlan
from cni_harvester.model.mtu import MTU_MAX, MTU_MIN


def _check_bridge_name(value: str) -> str:
    if fault := names.find_interface_name_fault(value):
        raise ValueError(fault)
    return value


def _check_mtu(value: int) -> int:
    if value and not MTU_MIN <= value <= MTU_MAX:
        raise ValueError(f"must be 0 to inherit the bridge's, or {MTU_MIN}-{MTU_MAX} bytes")
    return value


def _check_plugin_name(value: str) -> str:
    if not value.isprintable() or "/" in value or value in {".", ".."}:
        raise ValueError("must be the name of a program in CNI_PATH, not a path")
    return value


def _check_mac(value: str) -> str:
    return mac.parse_mac(value) if value else ""


def _check_vid(value: int) -> int:
    if not vlan.VID_MIN <= value <= vlan.VID_MAX:
        raise ValueError(f"must be a VLAN ID, {vlan.VID_MIN}-{vlan.VID_MAX}")
    return value


def _check_vlan(value: int) -> int:
    if not 0 <= value <= vlan.VID_MAX:
        raise ValueError(f"must be 0 for none, or a VLAN ID, {vlan.VID_MIN}-{vlan.VID_MAX}")
    return value


Vid = Annotated[int, AfterValidator(_check_vid)]
MacText = Annotated[str, AfterValidator(_check_mac)]


class TrunkItem(Document):
    """One entry of `vlanTrunk`: one VID, a range of them, or both."""

    model_config = ConfigDict(extra="forbid")

    id: Vid | None = None
    min_id: Vid | None = Field(default=None, alias="minID")
    max_id: Vid | None = Field(default=None, alias="maxID")

    @model_validator(mode="after")
    def _check(self) -> "TrunkItem":
        if self.id is None and self.min_id is None and self.max_id is None:
            raise ValueError("needs id, or minID and maxID")
        if (self.min_id is None) != (self.max_id is None):
            missing = "minID" if self.min_id is None else "maxID"
            raise ValueError(f"minID and maxID go together: {missing} is missing")
        if self.min_id is not None and self.max_id is not None and self.min_id > self.max_id:
            raise ValueError(f"minID {self.min_id} is greater than maxID {self.max_id}")
        return self

    @property
    def vids(self) -> set[int]:
        """The VIDs that the entry lists."""
        found = {self.id} if self.id is not None else set()
        if self.min_id is not None and self.max_id is not None:
            found.update(range(self.min_id, self.max_id + 1))
        return found


class Ipam(Document):
    """Which IPAM plugin is asked for addresses; its own keys are its own business."""

    type: Annotated[str, AfterValidator(_check_plugin_name)] = ""
    daemon_socket_path: str = Field(default="/run/cni/dhcp.sock", alias="daemonSocketPath")


class Dns(Document):
    """Name service settings for the result; they replace the IPAM plugin's when any is set."""

    nameservers: list[str] = []
    domain: str = ""
    search: list[str] = []
    options: list[str] = []

    def to_json(self) -> dict[str, Any]:
        """As it stands in a result: only what is set."""
        return self.model_dump(exclude_defaults=True)


class _Mac(Document):
    mac: MacText = ""


class _Args(Document):
    cni: _Mac = _Mac()


class NetworkConfig(Document):
    """The keys of a network configuration that concern an attachment.

    Attributes:
        bridge: the bridge to join; `<cn>-br` for a cluster network.
        mtu: bytes; 0 inherits the bridge's.
        vlan: access VLAN, or a trunk's native one; 0 for none.
        trunk: the VIDs of `vlanTrunk`; empty when the attachment is no trunk.
        uplink_vlans: `auto` has ADD see to it that the cluster network's uplink carries the VIDs.
    """

    bridge: Annotated[str, AfterValidator(_check_bridge_name)]
    mtu: Annotated[int, AfterValidator(_check_mtu)] = 0
    vlan: Annotated[int, AfterValidator(_check_vlan)] = 0
    vlan_trunk: list[TrunkItem] = Field(default=[], alias="vlanTrunk")
    promisc_mode: bool = Field(default=False, alias="promiscMode")
    hairpin_mode: bool = Field(default=False, alias="hairpinMode")
    preserve_default_vlan: bool = Field(default=False, alias="preserveDefaultVlan")
    macspoofchk: bool = False
    port_isolation: bool = Field(default=False, alias="portIsolation")
    disable_container_interface: bool = Field(default=False, alias="disableContainerInterface")
    enabledad: bool = False
    enable_vlan_filtering: bool = Field(default=False, alias="enableVlanFiltering")
    create_bridge: bool = Field(default=False, alias="createBridge")
    uplink_vlans: Literal["auto", "manual"] = Field(default="auto", alias="uplinkVlans")
    ipam: Ipam = Ipam()
    dns: Dns = Dns()
    args: _Args = _Args()
    runtime_config: _Mac = Field(default=_Mac(), alias="runtimeConfig")
    is_gateway: bool = Field(default=False, alias="isGateway")
    is_default_gateway: bool = Field(default=False, alias="isDefaultGateway")
    force_address: bool = Field(default=False, alias="forceAddress")
    ip_masq: bool = Field(default=False, alias="ipMasq")

    @model_validator(mode="after")
    def _check_combinations(self) -> "NetworkConfig":
        faults = []
        if self.hairpin_mode and self.promisc_mode:
            faults.append("hairpinMode and promiscMode cannot both be true")
        if self.disable_container_interface and self.ipam.type:
            faults.append("disableContainerInterface needs an empty ipam: a port that is down has no addresses")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def trunk(self) -> frozenset[int]:
        """All VIDs of the trunk."""
        return frozenset().union(*(item.vids for item in self.vlan_trunk))

    @property
    def needs_filtering(self) -> bool:
        """Whether the attachment is isolated only on a bridge that filters VLANs."""
        return bool(self.vlan or self.vlan_trunk)


_UNSUPPORTED = ("isGateway", "isDefaultGateway", "forceAddress", "ipMasq")


def load_network_config(call: Call) -> NetworkConfig:
    """Read and check the network configuration of a call.

    Raises:
        InvalidNetworkConfig: with all faults (code 7).
        UnsupportedField: a key or value that we do not support (code 2).
    """
    config = NetworkConfig.parse(call.config, "network configuration")
    values = config.model_dump(by_alias=True)
    if refused := [key for key in _UNSUPPORTED if values[key]]:
        listed = ", ".join(f"{key}: true" for key in refused)
        hint = "a layer-2 network has its gateway outside the node; set it to false or leave it out"
        raise UnsupportedField(f"unsupported value in network configuration: {listed}", hint)
    return config


def choose_mac(config: NetworkConfig, call: Call) -> str:
    """Return the MAC that was asked for: runtimeConfig.mac, else args.cni.mac, else CNI_ARGS MAC, else empty.

    CNI_ARGS is read whole even when another source wins, for a fault in it is a fault.
    """
    argument = parse_arguments(call.arguments).get("MAC", "")
    try:
        from_arguments = _check_mac(argument)
    except ValueError as e:
        raise InvalidEnvironment(f"invalid CNI_ARGS: MAC: {e}", f"CNI_ARGS is {call.arguments!r}") from e
    return config.runtime_config.mac or config.args.cni.mac or from_arguments


def parse_arguments(text: str) -> dict[str, str]:
    """Read CNI_ARGS, `KEY=VALUE;KEY=VALUE` (CNI conventions, "CNI_ARGS").

    Raises:
        InvalidEnvironment: a pair is malformed, or a key is unknown and IgnoreUnknown is not set.
    """
    pairs: dict[str, str] = {}
    for pair in text.split(";") if text else ():
        key, equals, value = pair.partition("=")
        if not equals or "=" in value:
            raise InvalidEnvironment(f"invalid CNI_ARGS: {pair!r} is not KEY=VALUE", f"CNI_ARGS is {text!r}")
        pairs[key] = value
    ignore = pairs.get("IgnoreUnknown", "0").lower()
    if ignore not in {"1", "0", "true", "false", ""}:
        raise InvalidEnvironment(f"invalid CNI_ARGS: IgnoreUnknown={ignore!r} is no boolean", "use 1, 0, true or false")
    unknown = [f"{key}={value}" for key, value in pairs.items() if key not in {"MAC", "IgnoreUnknown"}]
    if unknown and ignore not in {"1", "true"}:
        hint = "known is MAC; IgnoreUnknown=1 lets others pass"
        raise InvalidEnvironment(f"invalid CNI_ARGS: unknown args {unknown}", hint)
    return pairs
