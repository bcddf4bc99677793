"""The MTU of an attachment: inherited from its bridge, or lowered by the configuration. Bytes, as the kernel counts."""

from cni_harvester.errors import InvalidNetworkConfig

MTU_MIN, MTU_MAX = 68, 65535
"""What a veth takes: RFC 791's minimum, and ETH_MAX_MTU (linux/if_ether.h)."""


def inherit_mtu(requested: int, bridge: str, bridge_mtu: int) -> int:
    """Return the MTU of both ends of an attachment.

    Args:
        requested: the configuration's `mtu`; 0 means the bridge's, whatever it is, for the uplink decides.
        bridge: name of the bridge, for the message.
        bridge_mtu: the bridge's MTU in bytes.

    Raises:
        InvalidNetworkConfig: the request is above the bridge's MTU: larger frames would be dropped without a trace.
    """
    if requested > bridge_mtu:
        raise InvalidNetworkConfig(
            f'invalid network configuration: mtu: {requested} is above the MTU {bridge_mtu} of bridge "{bridge}"',
            f"leave out mtu to inherit {bridge_mtu}, or raise the MTU of the cluster network first",
        )
    return requested or bridge_mtu
