"""A switch port made of nothing: it carries the VLANs that it is told to, and says nothing in all others.

In some of them a DHCP server answers and its gateway answers ARP; in some somebody talks, or there is only a spanning
tree. It needs no kernel that knows VLANs:

    with serve_port(container, "far", Port((PortVlan(100, "192.0.2.1/24"), PortVlan(200, frames_a_second=5)))):
        ...

It is a process in the container's namespace, `python -m lab.switch_port INTERFACE JSON`.
"""

import contextlib
import heapq
import itertools
import json
import os
import re
import select
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

from lab.dhcp.daemon import Daemon, run_daemon
from lab.namespaces import Container

READY = "ready"
_ROOT = Path(__file__).resolve().parents[1]
_ANNOUNCE_EVERY_S, _HELLO_S = 1.0, 1.0
"""A real switch announces itself every 30 or 60 s, and sends a BPDU every 2 s."""
_BURST = 1000
_UDP_TO_NOWHERE = 9


@dataclass(frozen=True)
class PortVlan:
    """One VLAN that the port carries.

    Attributes:
        vid: its VID; 0 is untagged.
        server: address of its DHCP server and gateway with prefix length; empty for none.
        rivals: addresses of further DHCP servers.
        answers_in: the VLAN whose tag its answers get, 0 for none; its own if left out.
        gateway: an address that answers ARP beside the server's.
        frames_a_second: what its machines say to each other.
        talkers: how many machines do.
        has_tree: whether PVST+ sends BPDUs in it.
        delay_s: how long the server thinks about a question.
    """

    vid: int
    server: str = ""
    rivals: tuple[str, ...] = ()
    answers_in: int | None = None
    gateway: str = ""
    frames_a_second: float = 0
    talkers: int = 1
    has_tree: bool = False
    delay_s: float = 0


@dataclass(frozen=True)
class Port:
    """What the port is like.

    Attributes:
        vlans: what it carries.
        announces: whether it announces itself by LLDP and CDP, and sends BPDUs of RSTP.
        native: the native VLAN that it says it has.
        names: names of VLANs, by VID, in its LLDP.
    """

    vlans: tuple[PortVlan, ...] = ()
    announces: bool = False
    native: int = 0
    names: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PortProcess:
    """The running program."""

    daemon: Daemon

    def list_questions(self) -> list[tuple[str, int]]:
        """Return the DHCP questions that came in VLANs with a server, as (message, VLAN)."""
        found = re.findall(r"^(\w+) in VLAN (\d+)$", self.daemon.read_log(), re.MULTILINE)
        return [(name, int(vid)) for name, vid in found]


@contextlib.contextmanager
def serve_port(container: Container, interface: str, port: Port) -> Iterator[PortProcess]:
    """Be a switch port for the time of a `with` block, on an interface that is up and better has no address."""
    command = [sys.executable, "-m", "lab.switch_port", interface, json.dumps(asdict(port))]
    with (
        tempfile.TemporaryDirectory(prefix="switch-", dir="/run") as folder,
        run_daemon(container, command, Path(folder), {"PYTHONPATH": str(_ROOT)}) as daemon,
    ):
        daemon.wait_until("ready", lambda: READY in daemon.read_log().splitlines())
        yield PortProcess(daemon)


class _Program:
    """The port on its socket."""

    def __init__(self, socket: Any, port: Port) -> None:
        from lab.switch_frames import make_cdp, make_lldp, make_pvst, make_rstp

        self._socket = socket
        self._vlans = {vlan.vid: vlan for vlan in port.vlans}
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, float, list[bytes]]] = []  # when, and every how many seconds
        if port.announces:
            lldp = make_lldp("lab-switch", "Gi1/0/1", description="to the node", pvid=port.native, names=port.names)
            cdp = make_cdp("lab-switch.example", "GigabitEthernet1/0/1", platform="lab", native_vlan=port.native)
            for frame in (lldp, cdp, make_rstp()):
                self._plan([frame], _ANNOUNCE_EVERY_S)
        for vlan in port.vlans:
            if vlan.has_tree:
                self._plan([make_pvst(vlan.vid)], _HELLO_S)
            if vlan.frames_a_second:
                self._plan(_make_talk(vlan), 1 / vlan.frames_a_second)

    def _plan(self, frames: list[bytes], every_s: float) -> None:
        heapq.heappush(self._waiting, (time.monotonic() + min(every_s, 0.5), next(self._order), every_s, frames))

    def serve(self) -> None:
        """Answer, and say what is due, until standard input comes to its end."""
        print(READY, flush=True)
        while True:
            patience_s = max(0.0, self._waiting[0][0] - time.monotonic()) if self._waiting else None
            readable = select.select([self._socket, sys.stdin], [], [], patience_s)[0]
            if sys.stdin in readable and not os.read(sys.stdin.fileno(), 4096):
                return
            self._say_what_is_due()
            for _ in range(_BURST):
                if (frame := self._socket.read()) is None:
                    break
                self._answer(frame)

    def _say_what_is_due(self) -> None:
        """Send what is due: one of the frames of an entry after the other; several at once where they come fast."""
        now_s = time.monotonic()
        while self._waiting and self._waiting[0][0] <= now_s:
            due_s, _, every_s, frames = heapq.heappop(self._waiting)
            times = 1 + min(_BURST, int((now_s - due_s) / every_s)) if every_s else 1
            for frame in itertools.islice(itertools.cycle(frames), times):
                self._socket.send(frame)
            if every_s:
                next_s, turn = max(due_s + times * every_s, now_s - 0.1), times % len(frames)
                heapq.heappush(self._waiting, (next_s, next(self._order), every_s, frames[turn:] + frames[:turn]))

    def _answer(self, frame: Any) -> None:
        vlan = self._vlans.get(frame.vlan or 0)
        if vlan is None or not (vlan.server or vlan.gateway):
            return
        for reply in _make_answers(vlan, frame.data):
            heapq.heappush(self._waiting, (time.monotonic() + vlan.delay_s, next(self._order), 0, [reply]))
        self._say_what_is_due()


def _make_answers(vlan: PortVlan, data: bytes) -> Iterator[bytes]:
    """Yield what servers and gateways of a VLAN answer to a frame."""
    from scapy.layers.l2 import Dot1Q, Ether

    from lab.faulty_dhcp.answer import Answer, Question, Setting
    from lab.faulty_dhcp.gateway import Gateway

    frame = Ether(data)
    tag = vlan.vid if vlan.answers_in is None else vlan.answers_in
    if question := Question.find(frame):
        print(f"{question.name} in VLAN {vlan.vid}", flush=True)
        for number, server in enumerate(filter(None, (vlan.server, *vlan.rivals))):
            own = IPv4Interface(server)
            setting = Setting(_make_mac(vlan.vid, number), own, str(own.network[77]), str(own.ip), 600, tag, 1500)
            yield Answer.plan(setting, question).build()
    owners = {str(IPv4Interface(a).ip): [_make_mac(vlan.vid, 0)] for a in (vlan.server, vlan.gateway) if a}
    for reply in Gateway(owners, ()).answer(frame):
        packet = Ether(reply)
        yield bytes(Ether(src=packet.src, dst=packet.dst) / Dot1Q(vlan=tag) / packet.payload) if tag else reply


def _make_talk(vlan: PortVlan) -> list[bytes]:
    """Make what the machines of a VLAN say to one that is elsewhere: IP to a MAC that is not the listener's."""
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Dot1Q, Ether

    frames = []
    for number in range(vlan.talkers):
        head = Ether(src=_make_mac(vlan.vid, 100 + number), dst=_make_mac(vlan.vid, 99))
        tagged = head / Dot1Q(vlan=vlan.vid) if vlan.vid else head
        packet = IP(src="192.0.2.10", dst="192.0.2.20") / UDP(sport=4000, dport=_UDP_TO_NOWHERE) / bytes(400)
        frames.append(bytes(tagged / packet))
    return frames


def _make_mac(vid: int, number: int) -> str:
    return f"02:00:{vid >> 8:02x}:{vid & 0xFF:02x}:{number >> 8:02x}:{number & 0xFF:02x}"


def _parse_port(text: str) -> Port:
    document = json.loads(text)
    vlans = tuple(PortVlan(**{**vlan, "rivals": tuple(vlan["rivals"])}) for vlan in document["vlans"])
    names = {int(vid): name for vid, name in document["names"].items()}
    return Port(vlans, document["announces"], document["native"], names)


def main() -> None:
    """Be the program."""
    from cni_harvester.kernel.frames import FrameSocket

    interface, text = sys.argv[1:]
    with FrameSocket(interface, promiscuous=True) as socket, contextlib.suppress(KeyboardInterrupt):
        _Program(socket, _parse_port(text)).serve()


if __name__ == "__main__":
    main()
