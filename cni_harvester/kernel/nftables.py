"""MAC spoof protection: one guard per host end in nftables' bridge family, set and removed in one transaction each.

The layout is the reference plugin's, so that its users' tools keep working: in `table bridge nat` the base chain
PREROUTING jumps, for frames from the host end, to `cni-br-iface-<id>`, and that to `cni-br-iface-<id>-mac`, which lets
the machine's own MAC return and drops the rest. Every rule has the comment `macspoofchk-<id>`. Our chains also carry
the attachment's alias as their comment, by which GC knows whose they are. nft(8).
"""

import errno as errnos
import hashlib
import os
import re
import socket
import struct
import subprocess
from dataclasses import dataclass

from cni_harvester.errors import FeatureMissing, KernelRefused
from cni_harvester.kernel.handle import Trace, refused
from cni_harvester.model.attachment import Attachment

_TABLE = "bridge nat"
_TABLE_COMMENT = "cni-harvester"
_TIMEOUT_S = 55
_NETLINK_NETFILTER = 12  # linux/netlink.h; the socket module has no name for it
_COMMENT_MAX = 127
"""NFTNL_UDATA_COMMENT_MAXLEN less the terminating zero (libnftnl)."""

_TRIES = 20

_NFT_PATHS = ("/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/usr/local/sbin/nft")


@dataclass(frozen=True)
class SpoofGuard:
    """The guard of one attachment: which chains and comments it has."""

    attachment: Attachment

    @property
    def _id(self) -> str:
        """`<container id>-<interface>`; a hash where that is too long for a comment, or not a plain word for nft."""
        plain = f"{self.attachment.container_id}-{self.attachment.ifname}"
        if len(plain.encode()) <= _COMMENT_MAX - len("macspoofchk-") and re.fullmatch(r"[\w.\-]+", plain, re.ASCII):
            return plain
        return hashlib.sha256(plain.encode()).hexdigest()[:32]

    @property
    def comment(self) -> str:
        """Comment of each rule."""
        return f"macspoofchk-{self._id}"

    @property
    def chain(self) -> str:
        """The chain that frames from the host end go through."""
        return f"cni-br-iface-{self._id}"

    @property
    def label(self) -> str:
        """Comment of both chains: the alias, cut to what a comment holds."""
        alias = self.attachment.alias
        return alias if len(alias) <= _COMMENT_MAX and alias.isascii() else self._id


def find_nft() -> str | None:
    """Return the path of the nft program, or None; PATH is not asked, for a runtime may pass none."""
    return next((path for path in _NFT_PATHS if os.access(path, os.X_OK)), None)


def add_guard(guard: SpoofGuard, host_end: str, mac: str, *, trace: Trace) -> None:
    """Drop what comes from a host end with any other source MAC; replaces a guard of the same identity."""
    remove_guard(guard, trace=trace)
    base = f"add chain {_TABLE} PREROUTING {{ type filter hook prerouting priority -300; policy accept; }}"
    rule, comment = f"add rule {_TABLE}", f'comment "{guard.comment}"'
    script = [
        f'add table {_TABLE} {{ comment "{_TABLE_COMMENT}"; }}',
        base,
        *(f'add chain {_TABLE} {c} {{ comment "{guard.label}"; }}' for c in (guard.chain, f"{guard.chain}-mac")),
        f"{rule} {guard.chain}-mac ether saddr {mac} return {comment}",
        f"{rule} {guard.chain}-mac drop {comment}",
        f"{rule} {guard.chain} jump {guard.chain}-mac {comment}",
        f"{rule} PREROUTING iifname {host_end} jump {guard.chain} {comment}",
    ]
    _change(script, guard, trace)


def remove_guard(guard: SpoofGuard, *, trace: Trace) -> None:
    """Remove a guard by its identity alone; quiet when there is none. Costs no process then.

    Another process may remove the same guard, or set or remove another, between our look and our change: the
    transaction fails as a whole then, and we look again.
    """
    for tries_left in reversed(range(_TRIES)):
        if not (has_chain(guard.chain) or has_chain(f"{guard.chain}-mac")):
            return
        try:
            _change(_plan_removal(guard), guard, trace)
        except KernelRefused:
            if not tries_left:
                raise


def _plan_removal(guard: SpoofGuard) -> list[str]:
    """Write the transaction that removes a guard, and with the last one the table, if we made it."""
    base = _run(["-a", "list", "chain", *_TABLE.split(), "PREROUTING"]).stdout
    handles = re.findall(rf'comment "{re.escape(guard.comment)}" # handle (\d+)$', base, re.MULTILINE)
    script = [f"delete rule {_TABLE} PREROUTING handle {handle}" for handle in handles]
    for chain in (guard.chain, f"{guard.chain}-mac"):
        script += [f"add chain {_TABLE} {chain}", f"delete chain {_TABLE} {chain}"]  # whether it is there or not
    rules = re.findall(r"[^{] # handle \d+$", base, re.MULTILINE)  # a table's or chain's own handle follows its brace
    if len(rules) == len(handles) and _is_table_ours(guard):
        # Deleting the base chain fails if another process puts a rule there just now.
        script += [f"delete chain {_TABLE} PREROUTING", f"delete table {_TABLE}"]
    return script


def _is_table_ours(guard: SpoofGuard) -> bool:
    """Whether we made the table, and nothing is in it but the base chain and one guard."""
    text = _run(["list", "table", *_TABLE.split()]).stdout
    chains = set(re.findall(r"^\s*chain (\S+) \{", text, re.MULTILINE))
    return f'comment "{_TABLE_COMMENT}"' in text and chains <= {"PREROUTING", guard.chain, f"{guard.chain}-mac"}


def list_guard_labels() -> set[str]:
    """Return the comments of all chains of the table: the aliases of the attachments that have a guard."""
    if not has_chain("PREROUTING"):
        return set()
    text = _run(["list", "table", *_TABLE.split()]).stdout
    return set(re.findall(r'chain cni-br-iface-\S+ \{\s*comment "([^"]+)"', text))


def has_chain(name: str) -> bool:
    """Whether our table has a chain of that name: one netlink message, no process (linux/netfilter/nf_tables.h)."""
    table, chain = (text.encode() + b"\0" for text in (_TABLE.split()[1], name))
    body = struct.pack("=BBH", 7, 0, 0) + _attribute(1, table) + _attribute(3, chain)  # NFPROTO_BRIDGE
    get_chain = 10 << 8 | 4  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETCHAIN
    message = struct.pack("=IHHII", 16 + len(body), get_chain, 0x1, 1, 0) + body
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as sock:
            sock.send(message)
            answer = sock.recv(8192)
    except OSError as e:
        if e.errno == errnos.EPROTONOSUPPORT:  # a kernel without netfilter netlink has no rules
            return False
        raise refused("look up chain", name, e) from e
    (kind,) = struct.unpack_from("=H", answer, 4)
    if kind != 2:  # NLMSG_ERROR
        return True
    (code,) = struct.unpack_from("=i", answer, 16)
    if -code in {errnos.ENOENT, errnos.EINVAL, errnos.EOPNOTSUPP}:  # no chain, or no nftables in this kernel
        return False
    raise refused("look up chain", name, OSError(-code, os.strerror(-code)))


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _change(script: list[str], guard: SpoofGuard, trace: Trace) -> None:
    trace("nft -f - <<< '{}'".format("\n".join(script)))
    done = _run(["-f", "-"], "\n".join(script) + "\n")
    if done.returncode:
        message = f'cannot set MAC spoof protection "{guard.comment}": nft exited with {done.returncode}'
        raise KernelRefused(message, done.stderr.strip(), errno=0)


def _run(arguments: list[str], script: str = "") -> subprocess.CompletedProcess[str]:
    program = find_nft()
    if program is None:
        message = f"cannot set MAC spoof protection: no nft program at {', '.join(_NFT_PATHS)}"
        raise FeatureMissing(message, "install the package nftables, or leave out macspoofchk")
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    return subprocess.run(  # noqa: S603 - a fixed path and our own words
        [program, *arguments],
        input=script,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        env=environment,
        check=False,
    )
