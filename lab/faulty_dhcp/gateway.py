"""A gateway made of nothing: it answers ARP, and echo requests, for addresses that nobody has."""

from collections.abc import Iterator, Mapping, Sequence

from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet

_IS_AT, _WHO_HAS = 2, 1
_ECHO_REPLY, _ECHO_REQUEST = 0, 8


class Gateway:
    """What answers for some addresses.

    Attributes:
        owners: the MACs that answer ARP for each address; several for one look like two machines with that address.
        echoing: the addresses that answer echo requests, whichever MAC those were sent to.
    """

    def __init__(self, owners: Mapping[str, Sequence[str]], echoing: Sequence[str]) -> None:
        self.owners = dict(owners)
        self.echoing = echoing

    def answer(self, frame: Packet) -> Iterator[bytes]:
        """Give the answers to a frame, with its own VLAN tag."""
        if ARP in frame and frame[ARP].op == _WHO_HAS:
            for mac in self.owners.get(frame[ARP].pdst, ()):
                yield bytes(self._head_back(frame, mac) / self._claim(frame[ARP], mac))
        elif ICMP in frame and frame[ICMP].type == _ECHO_REQUEST and frame[IP].dst in self.echoing:
            yield bytes(self._head_back(frame, frame[Ether].dst) / self._echo(frame[IP]))

    @staticmethod
    def _head_back(frame: Packet, mac: str) -> Packet:
        """Return what goes before the answer."""
        head = Ether(src=mac, dst=frame[Ether].src)
        return head / Dot1Q(vlan=frame[Dot1Q].vlan) if Dot1Q in frame else head

    @staticmethod
    def _claim(question: Packet, mac: str) -> Packet:
        return ARP(op=_IS_AT, hwsrc=mac, psrc=question.pdst, hwdst=question.hwsrc, pdst=question.psrc)

    @staticmethod
    def _echo(question: Packet) -> Packet:
        asked = question[ICMP]
        reply = ICMP(type=_ECHO_REPLY, id=asked.id, seq=asked.seq) / bytes(asked.payload)
        return IP(src=question.dst, dst=question.src, flags="DF") / reply
