"""STATUS: could an ADD succeed now? Says why not; promises nothing. CNI specification 1.1.0, "STATUS"."""

import socket

from cni_harvester.attach import bridge as bridges
from cni_harvester.cni import netconf
from cni_harvester.cni.netconf import NetworkConfig
from cni_harvester.cni.request import Call
from cni_harvester.errors import FeatureMissing, HarvesterError, LimitedConnectivity, NodeError, NotReady
from cni_harvester.ipam import require_plugin, run_plugin
from cni_harvester.kernel import links, nftables
from cni_harvester.kernel.handle import Handle, Trace

_SOCKET_TIMEOUT_S = 2.0


def status(call: Call, *, trace: Trace) -> None:
    """Check what an ADD of this network would need of the node.

    Raises:
        NotReady: with everything that is missing (code 50; 51 when an IPAM plugin says that).
        InvalidNetworkConfig, UnsupportedField: no ADD of this configuration can succeed.
    """
    config = netconf.load_network_config(call)
    causes: list[str] = []
    kind: type[NotReady | LimitedConnectivity] = NotReady
    for look in (_look_at_bridge, _look_at_programs, _look_at_ipam):
        try:
            look(call, config, trace)
        except NotReady as e:
            causes.append(e.msg)
        except LimitedConnectivity as e:
            causes.append(e.msg)
            kind = LimitedConnectivity
        except HarvesterError as e:
            if not isinstance(e, NodeError):
                raise
            causes.append(f"{e.msg} ({e.details})" if e.details else e.msg)
    if causes:
        raise kind(f'network "{call.name}" is not ready: {"; ".join(causes)}', "ADD would fail until that is mended")


def _look_at_bridge(_: Call, config: NetworkConfig, trace: Trace) -> None:
    with Handle(trace=trace) as host:
        bridge = links.find_link(host, config.bridge)
        if bridge is None:
            if config.create_bridge:
                return
            raise NotReady(f'bridge "{config.bridge}" does not exist on this node')
        bridges.require_bridge(bridge)
        bridges.require_vlans(bridge, config)


def _look_at_programs(_: Call, config: NetworkConfig, __: Trace) -> None:
    if config.macspoofchk and nftables.find_nft() is None:
        raise FeatureMissing("macspoofchk needs the program nft", "install the package nftables")


def _look_at_ipam(call: Call, config: NetworkConfig, trace: Trace) -> None:
    """Look for the IPAM plugin, for the daemon of `dhcp`, which has no STATUS of its own, and ask the plugin."""
    if not config.ipam.type:
        return
    require_plugin(call, config.ipam.type)
    if config.ipam.type == "dhcp":
        _connect(config.ipam.daemon_socket_path)
    try:
        run_plugin(call, config.ipam.type, "STATUS", trace=trace)
    except HarvesterError as e:
        kind = LimitedConnectivity if e.code == LimitedConnectivity.code else NotReady
        raise kind(f'IPAM plugin "{config.ipam.type}" is not ready: {e.msg}', e.details) from e


def _connect(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
        sock.settimeout(_SOCKET_TIMEOUT_S)
        try:
            sock.connect(path)
        except OSError as e:
            reason = e.strerror or str(e)
            raise NotReady(f'the daemon of IPAM plugin "dhcp" does not answer on {path}: {reason}') from e
