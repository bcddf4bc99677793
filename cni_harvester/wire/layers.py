"""scapy's layers, loaded without what a program on a node must not do or does not need. The only importer of scapy.

Loading scapy reads vendor tables (130 ms), reads the machine's routes and interfaces, and writes caches below the
user's home. None of that is of use for making and reading frames.
"""

import logging
import sys
from types import ModuleType

# The vendor and protocol tables that scapy.data reads while it loads: only needed to print names of vendors.
for _table in ("bluetoothids", "ethertypes", "manuf"):
    _module = ModuleType(f"scapy.libs.{_table}")
    _module.DATA = {} if _table == "bluetoothids" else ""  # type: ignore[attr-defined]
    sys.modules.setdefault(_module.__name__, _module)

import scapy.main  # noqa: E402

scapy.main.SCAPY_CACHE_FOLDER = None

from scapy.config import conf  # noqa: E402

conf.route_autoload = conf.route6_autoload = False
logging.getLogger("scapy").setLevel(logging.CRITICAL)  # it comments on broken frames; we report them as values

from scapy.layers.dhcp import BOOTP, DHCP  # noqa: E402
from scapy.layers.inet import ICMP, IP, UDP  # noqa: E402
from scapy.layers.inet6 import (  # noqa: E402
    ICMPv6ND_RA,
    ICMPv6ND_RS,
    ICMPv6NDOptMTU,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptRDNSS,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import ARP, LLC, SNAP, STP, Dot1Q, Dot3, Ether  # noqa: E402
from scapy.packet import Packet, Raw  # noqa: E402
from scapy.utils import checksum  # noqa: E402

__all__ = [
    "ARP",
    "BOOTP",
    "DHCP",
    "ICMP",
    "IP",
    "LLC",
    "SNAP",
    "STP",
    "UDP",
    "Dot1Q",
    "Dot3",
    "Ether",
    "ICMPv6NDOptMTU",
    "ICMPv6NDOptPrefixInfo",
    "ICMPv6NDOptRDNSS",
    "ICMPv6NDOptSrcLLAddr",
    "ICMPv6ND_RA",
    "ICMPv6ND_RS",
    "IPv6",
    "Packet",
    "Raw",
    "checksum",
]
