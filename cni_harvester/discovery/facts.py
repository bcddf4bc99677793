"""Facts about what can be reached from this node, each by itself, with its reason and the time it took."""

from dataclasses import dataclass
from enum import Enum


class Answer(Enum):
    """Whether something is so; UNKNOWN when it was not, or could not be, tried."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Fact:
    """One fact: what was asked (`name`), the answer, why, and how long it took."""

    name: str
    answer: Answer
    reason: str
    duration_ms: float = 0.0


DHCP_PRESENT = "DHCP server answers"
GATEWAY_ARP = "gateway answers ARP"
GATEWAY_ICMP = "gateway answers ICMP"
ONE_GATEWAY_MAC = "gateway has one MAC"
PATH_MTU = "path carries the MTU"
