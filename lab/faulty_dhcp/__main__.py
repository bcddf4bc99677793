"""A DHCP server that answers wrongly, on one interface. Prints "ready" once its socket is open, and each question.

If standard input is a pipe, each line of it names the faults from then on, and its end is the program's.
"""

import argparse
import contextlib
import heapq
import ipaddress
import os
import select
import stat
import sys
import time
from pathlib import Path
from typing import Any

from scapy.arch.linux import L2Socket
from scapy.layers.inet import IP
from scapy.layers.l2 import Dot1Q
from scapy.packet import Packet

from lab.faulty_dhcp import DEFAULT_ADDRESS, READY
from lab.faulty_dhcp.answer import Answer, Question, Setting
from lab.faulty_dhcp.faults import FAULTS, OCCUPANT_MAC
from lab.faulty_dhcp.gateway import Gateway


class Server:
    """The server on its socket."""

    def __init__(self, socket: L2Socket, setting: Setting, gateway: Gateway, largest: int) -> None:
        self._socket = socket
        self._setting = setting
        self._gateway = gateway
        self._largest = largest  # IP packet that it does not ignore
        self._faults: list[str] = []
        self._waiting: list[tuple[float, bytes]] = []  # frames that are to go out later, by time

    def use(self, faults: list[str]) -> None:
        """Answer with these faults from now on, and not any more with what was still to come of others.

        Raises:
            SystemExit: there is no such fault.
        """
        if unknown := [fault for fault in faults if fault not in FAULTS]:
            raise SystemExit(f"no such fault: {' '.join(unknown)}")
        self._faults = faults
        self._waiting.clear()
        owners = self._gateway.owners
        owners.pop(self._setting.offer, None)
        if "arp-conflict" in faults:
            owners[self._setting.offer] = [OCCUPANT_MAC]
        print(READY, flush=True)

    def serve(self, commands: int | None) -> None:
        """Answer until the commands, a file descriptor, come to their end."""
        inputs: list[Any] = [self._socket.ins, *([] if commands is None else [commands])]
        while True:
            patience_s = max(0, self._waiting[0][0] - time.monotonic()) if self._waiting else None
            readable, _, _ = select.select(inputs, [], [], patience_s)
            if commands is not None and commands in readable:
                line = os.read(commands, 4096).decode()
                if not line:
                    return
                self.use(line.split())
            try:
                self._send_what_is_due()
                if self._socket.ins in readable and (frame := self._socket.recv()) is not None:
                    self._answer(frame)
            except OSError as e:  # the interface is down, and may come up again
                print(e, flush=True)

    def _send_what_is_due(self) -> None:
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            self._socket.ins.send(heapq.heappop(self._waiting)[1])

    def _answer(self, frame: Packet) -> None:
        """Answer a frame of our VLAN, if it is a question."""
        vlan = frame[Dot1Q].vlan if Dot1Q in frame else 0
        if vlan != self._setting.vlan or (self._largest and IP in frame and frame[IP].len > self._largest):
            return
        for reply in self._gateway.answer(frame):
            self._socket.ins.send(reply)
        question = Question.find(frame)
        if question is None:
            return
        sound = Answer.plan(self._setting, question)
        answers = [answer for fault in self._faults for answer in FAULTS[fault].answer(sound) if answer.is_meant()]
        built = {answer: answer.build() for answer in set(answers)}  # a flood has many that are the same
        print(f"{question.name} from {question.mac}: {len(answers)} answers", flush=True)
        for answer in answers:
            if answer.delay_s:
                heapq.heappush(self._waiting, (time.monotonic() + answer.delay_s, built[answer]))
            else:
                self._socket.ins.send(built[answer])


def parse_arguments() -> argparse.Namespace:
    """Read the command line; `--help` lists the faults."""
    table = "".join(f"  {name:20} {fault.description}\n" for name, fault in FAULTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m lab.faulty_dhcp",
        description=__doc__,
        epilog=f"faults:\n{table}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("interface", metavar="INTERFACE", help="where to answer")
    parser.add_argument("faults", metavar="FAULT", nargs="+", help="how; several for several answers to a question")
    parser.add_argument("--vlan", metavar="N", type=int, default=0, help="heed and send this tag; untagged if left out")
    parser.add_argument("--address", default=DEFAULT_ADDRESS, help=f"own address; {DEFAULT_ADDRESS} if left out")
    parser.add_argument("--offer", metavar="ADDRESS", help="what to give away; .77 if left out")
    parser.add_argument("--router", metavar="ADDRESS", help="router to name; the own address if left out")
    parser.add_argument("--lease", metavar="SECONDS", type=int, default=600, help="lease time; 600 if left out")
    parser.add_argument(
        "--arp", metavar="MAC", nargs="*", help="answer ARP for the router; with the own MAC if none given"
    )
    parser.add_argument("--icmp", action="store_true", help="answer echo requests to the router")
    parser.add_argument("--mtu", metavar="BYTES", type=int, default=0, help="ignore larger IP packets")
    return parser.parse_args()


def plan_setting(arguments: argparse.Namespace) -> Setting:
    """Work out what a sound answer would say."""
    text = arguments.address if "/" in arguments.address else f"{arguments.address}/24"
    address = ipaddress.IPv4Interface(text)
    link = Path("/sys/class/net", arguments.interface)
    return Setting(
        mac=(link / "address").read_text().strip(),
        address=address,
        offer=arguments.offer or str(address.network[77]),
        router=arguments.router or str(address.ip),
        lease_s=arguments.lease,
        vlan=arguments.vlan,
        mtu=int((link / "mtu").read_text()),
    )


def main() -> None:
    """Be the program."""
    arguments = parse_arguments()
    setting = plan_setting(arguments)
    owners = {} if arguments.arp is None else {setting.router: arguments.arp or [setting.mac]}
    gateway = Gateway(owners, [setting.router] if arguments.icmp else [])
    commands = sys.stdin.fileno() if stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode) else None
    with L2Socket(iface=arguments.interface) as socket, contextlib.suppress(KeyboardInterrupt):
        server = Server(socket, setting, gateway, arguments.mtu)
        server.use(arguments.faults)
        server.serve(commands)


if __name__ == "__main__":
    main()
