"""MAC addresses: read in every form that Go's net.ParseMAC takes, written in lower-case colon form."""

import re

# 00:00:5e:00:53:01, 00-00-5e-00-53-01, 0000.5e00.5301
_FORMS = re.compile(
    r"[0-9a-f]{2}(?P<separator>[:-])[0-9a-f]{2}(?:(?P=separator)[0-9a-f]{2}){4}|[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4}",
    re.IGNORECASE | re.ASCII,
)


def parse_mac(text: str) -> str:
    """Return a MAC in lower-case colon form; raise ValueError, saying why, for what no machine can have."""
    if not _FORMS.fullmatch(text):
        raise ValueError(f"{text!r} is not a MAC address such as 02:00:00:12:34:56")
    octets = bytes.fromhex(re.sub("[:.-]", "", text))
    if octets[0] & 1:
        raise ValueError(f"{text} is a multicast address; an interface needs a unicast one")
    if not any(octets):
        raise ValueError("00:00:00:00:00:00 is not an interface's address")
    return octets.hex(":")


def derive_mac(seed: bytes) -> str:
    """Make a unicast, locally administered MAC out of at least six seed octets, never one that starts with `fe:`.

    libvirt gives `fe:` to taps so that a bridge does not take their address for its own; ours must not look like one.
    """
    first = (seed[0] & 0xFC) | 0x02
    return bytes([0x0A if first == 0xFE else first, *seed[1:6]]).hex(":")
