"""CHECK: is there a lease, is it still running, and is it for the address that the result names?"""

from cni_harvester.cni.request import Call
from cni_harvester.errors import VerificationFailed
from cni_harvester.ipam.config import load_dhcp_config
from cni_harvester.ipam.lease import find_lease, now_s
from cni_harvester.kernel.handle import Trace

_HINT = "`cni-harvester leases` renews leases: is it running? Delete the machine's pod and start it again"


def check(call: Call, *, trace: Trace) -> None:
    """Compare the lease with the clock and with the result of the ADD.

    Raises:
        VerificationFailed: there is no lease, it has expired, or it is for another address.
    """
    del trace  # nothing is changed
    load_dhcp_config(call)
    name = call.attachment.ifname
    lease = find_lease(call.attachment)
    if lease is None:
        raise VerificationFailed(f'attachment "{name}" has no DHCP lease', _HINT)
    late_s = now_s() - lease.expires_s
    if late_s >= 0:
        raise VerificationFailed(f'the DHCP lease of "{name}" for {lease.address} expired {late_s:.0f} s ago', _HINT)
    wanted = _list_addresses(call)
    if wanted and str(lease.address) not in wanted:
        message = f'the DHCP lease of "{name}" is for {lease.address}, its result has {", ".join(sorted(wanted))}'
        raise VerificationFailed(message, "the server gave another address at renewal; start the machine's pod again")


def _list_addresses(call: Call) -> set[str]:
    """Return the IPv4 addresses of the previous result, with prefix lengths."""
    from cni_harvester.cni.result import parse_result

    document = call.find("prevResult")
    if document is None:
        return set()
    previous = parse_result(document, config_version=call.cni_version, what="prevResult")
    return {str(ip.address) for ip in previous.ips if ip.address.version == 4}
