"""MAC addresses: read, refused, derived."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_harvester.model import mac


@pytest.mark.parametrize(
    "text",
    [
        "00:00:5e:00:53:af",
        "00:00:5E:00:53:AF",
        "00-00-5e-00-53-af",
        "00-00-5E-00-53-aF",
        "0000.5e00.53af",
        "0000.5E00.53AF",
    ],
)
def test_mac_in_any_form_of_go_is_written_in_colon_form(text: str) -> None:
    """Colons, hyphens and dots, upper and lower case, are all read, as by Go's net.ParseMAC."""
    assert mac.parse_mac(text) == "00:00:5e:00:53:af"


def test_mac_that_starts_with_fe_is_accepted() -> None:
    """A MAC that libvirt would give is unicast, so it may be asked for."""
    assert mac.parse_mac("fe:00:5e:00:53:01") == "fe:00:5e:00:53:01"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "zz",
        "00:00:5e:00:53",
        "00:00:5e:00:53:01:02",
        "02:00:5e:10:00:00:00:01",
        "02-00-5e-10-00-00-00-01",
        "0200.5e10.0000.0001",
        "00:00:5e-00:53:01",
        "00:00.5e00.5301",
        "0000:5e00:5301",
        "0000.5e00:5301",
        "00005e005301",
        "0:0:5e:0:53:1",
        "00:00:5e:00:53:0g",
        "00:00:5e:00:53:01\n",
        " 00:00:5e:00:53:01",
        "00:00:5e:00:53:01 ",
        "00:00:5e:00:53:\u0660\u0661",
    ],
)
def test_mac_in_no_known_form_is_refused(text: str) -> None:
    """Addresses of other lengths, mixed separators and surrounding blanks are no MAC."""
    with pytest.raises(ValueError, match="is not a MAC address"):
        mac.parse_mac(text)


@pytest.mark.parametrize("text", ["01:00:5e:90:10:00", "33:33:00:00:00:01", "ff:ff:ff:ff:ff:ff", "0100.5e90.1000"])
def test_mac_that_is_multicast_is_refused(text: str) -> None:
    """No interface can have a multicast or the broadcast address."""
    with pytest.raises(ValueError, match="multicast"):
        mac.parse_mac(text)


@pytest.mark.parametrize("text", ["00:00:00:00:00:00", "00-00-00-00-00-00", "0000.0000.0000"])
def test_mac_that_is_zero_is_refused(text: str) -> None:
    """No interface can have the all-zero address."""
    with pytest.raises(ValueError, match="00:00:00:00:00:00"):
        mac.parse_mac(text)


@given(st.binary(min_size=6, max_size=32))
def test_derived_mac_is_always_unicast_and_local_and_never_starts_with_fe(seed: bytes) -> None:
    """Whatever the seed, the MAC is one that an interface can have, and does not look like a tap of libvirt."""
    derived = mac.derive_mac(seed)
    first = int(derived[:2], 16)
    assert mac.parse_mac(derived) == derived
    assert first & 0b11 == 0b10
    assert first != 0xFE
    assert bytes.fromhex(derived.replace(":", ""))[1:] == seed[1:6]


def test_derived_mac_keeps_the_upper_bits_of_its_first_octet_unless_that_gives_fe() -> None:
    """Only the two lowest bits of the first octet change, save where `fe:` would come out."""
    derived = [int(mac.derive_mac(bytes([first, 0, 0, 0, 0, 0]))[:2], 16) for first in range(256)]
    assert derived == [first & 0xFC | 2 for first in range(0xFC)] + [0x0A] * 4
