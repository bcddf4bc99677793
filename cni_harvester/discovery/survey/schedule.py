"""When a survey sends what: all VLANs at once, within a rate, twice those that stay silent. Pure: it is told the time.

Each question is listened to for the timeout, counted from when it was first sent; so a survey lasts as long as the
first round of questions takes, and the timeout.
"""

import heapq
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address

_CATCH_UP_S = 0.02
"""How much of the rate may be made up for at once, when we were kept from sending."""
_ARP_ATTEMPTS, _ARP_REPEAT_S = 3, 1.0
ARP_WAIT_S = 0.5
"""How much longer a survey may last for the gateway of an offer that came at the very end."""
_AT_ONCE = float("-inf")


@dataclass(frozen=True, order=True)
class Errand:
    """A frame to be sent: a DISCOVER in a VLAN, or a request for a gateway there; the first time or again."""

    vlan: int
    gateway: IPv4Address | None = None
    attempt: int = 1


class Schedule:
    """The errands of a survey.

    Args:
        vlans: to ask for DHCP servers, 0 for the untagged network; asked in this order.
        gateways: (VLAN, address) to ask for.
        rate: frames a second.
        timeout_s: how long to listen for the answer to each question.
        began_s: monotonic time of the beginning.

    Attributes:
        sent: how many frames were sent.
    """

    def __init__(
        self,
        vlans: Iterable[int],
        gateways: Iterable[tuple[int, IPv4Address]],
        *,
        rate: int,
        timeout_s: float,
        began_s: float,
    ) -> None:
        self.sent = 0
        self._interval_s = 1 / rate
        self._timeout_s = timeout_s
        self._slot_s = began_s
        self._order = itertools.count()
        self._heap: list[tuple[float, int, Errand]] = []
        self._asked_for = set[tuple[int, IPv4Address]]()
        self._pending = self._unasked = 0  # DISCOVERs in the heap, and those of them that are a VLAN's first
        for vlan, gateway in gateways:
            self.add_gateway(vlan, gateway)
        self._listen_until_s = self._linger_until_s = began_s + timeout_s + len(self._heap) * self._interval_s
        for vlan in vlans:
            self._push(began_s, Errand(vlan))

    @property
    def total(self) -> int:
        """How many frames there are as things stand, sent ones and repetitions included; fewer as answers come in."""
        return self.sent + len(self._heap) + self._unasked

    @property
    def ends_at_s(self) -> float:
        """When the survey is over, as far as is known now; infinitely late while there are DISCOVERs to send."""
        if self._pending:
            return float("inf")
        return max(self._listen_until_s, min(self._linger_until_s, self._listen_until_s + ARP_WAIT_S))

    def add_gateway(self, vlan: int, gateway: IPv4Address) -> None:
        """Ask for a gateway, before all else; once for each."""
        if (vlan, gateway) not in self._asked_for:
            self._asked_for.add((vlan, gateway))
            self._push(_AT_ONCE, Errand(vlan, gateway))

    def take(self, now_s: float, is_answered: Callable[[Errand], bool]) -> Errand | None:
        """Return the errand to run now, counted as sent; None when nothing is due, or the rate does not allow it."""
        while self._heap and self.find_next_s() <= now_s:
            errand = self._pop()
            if self._is_in_time(errand, now_s) and not is_answered(errand):
                self._slot_s = max(self._slot_s, now_s - _CATCH_UP_S) + self._interval_s
                self.sent += 1
                self._plan_next(errand, now_s)
                return errand
        return None

    def find_next_s(self) -> float:
        """Return when the next errand may be run; infinitely late when there is none."""
        return max(self._heap[0][0], self._slot_s) if self._heap else float("inf")

    def _push(self, due_s: float, errand: Errand) -> None:
        heapq.heappush(self._heap, (due_s, next(self._order), errand))
        self._count(errand, 1)

    def _pop(self) -> Errand:
        _, _, errand = heapq.heappop(self._heap)
        self._count(errand, -1)
        return errand

    def _count(self, errand: Errand, change: int) -> None:
        if errand.gateway is None:
            self._pending += change
            self._unasked += change if errand.attempt == 1 else 0

    def _is_in_time(self, errand: Errand, now_s: float) -> bool:
        """Whether anybody would still hear the answer, and a repetition for a gateway does not make it last longer."""
        if errand.gateway is None or self._pending:
            return True
        return now_s < (self.ends_at_s if errand.attempt == 1 else self._listen_until_s)

    def _plan_next(self, errand: Errand, now_s: float) -> None:
        """Plan the repetition of an errand that is run now, and for how long to listen."""
        again = Errand(errand.vlan, errand.gateway, errand.attempt + 1)
        if errand.gateway is not None:
            self._linger_until_s = now_s + ARP_WAIT_S
            if errand.attempt < _ARP_ATTEMPTS:
                self._push(now_s + _ARP_REPEAT_S, again)
            return
        left_s = self._timeout_s
        if errand.attempt == 1:
            self._push(now_s + self._timeout_s / 2, again)
        else:
            left_s /= 2
        self._listen_until_s = max(self._listen_until_s, now_s + left_s)
