"""STATUS: could an ADD lease an address, as far as this node is concerned? A server is not asked."""

import os

from cni_harvester.cni.request import Call
from cni_harvester.errors import NotReady
from cni_harvester.ipam.config import load_dhcp_config
from cni_harvester.ipam.lease import DIRECTORY
from cni_harvester.kernel.handle import Trace


def status(call: Call, *, trace: Trace) -> None:
    """Check the configuration, and that leases can be written.

    Raises:
        NotReady: leases cannot be kept.
        InvalidNetworkConfig, UnsupportedField: no ADD of this configuration can succeed.
    """
    del trace  # nothing is changed
    load_dhcp_config(call)
    existing = next(path for path in (DIRECTORY, *DIRECTORY.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        raise NotReady(
            f'cannot keep leases in "{DIRECTORY}": {existing} is not writable', "run as root, with /run there"
        )
