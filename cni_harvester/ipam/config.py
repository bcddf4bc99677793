"""The keys of `ipam` when its type is `cni-harvester`. docs/configuration.md explains each."""

import ipaddress
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

from cni_harvester.cni.document import Document
from cni_harvester.cni.request import Call

_CLIENT_ID_MAX_BYTES = 255 - 1
_TYPE_NONE = b"\0"
"""Type octet of a client identifier that is no hardware address (RFC 2132, section 9.14)."""


def _check_client_id(value: str) -> str:
    if len(value.encode()) > _CLIENT_ID_MAX_BYTES:
        raise ValueError(f"takes more than {_CLIENT_ID_MAX_BYTES} bytes")
    return value


def _check_server(value: str) -> str:
    return str(ipaddress.IPv4Address(value)) if value else ""


class DhcpConfig(Document):
    """How to lease an address.

    Attributes:
        timeout_s: seconds for the whole exchange; after that the ADD fails with code 11.
        client_id: text that names the client to the server; its MAC when empty.
        server: the only DHCP server whose offers count, by its server identifier; any when empty.
    """

    model_config = ConfigDict(extra="forbid")

    type: str
    mode: Literal["dhcp"]
    timeout_s: Annotated[int, Field(ge=1, le=600)] = Field(default=30, alias="timeoutSeconds")
    client_id: Annotated[str, AfterValidator(_check_client_id)] = Field(default="", alias="clientID")
    server: Annotated[str, AfterValidator(_check_server)] = ""

    @property
    def identifier(self) -> bytes:
        """Option 61 as it goes onto the wire; empty for the client's default."""
        return _TYPE_NONE + self.client_id.encode() if self.client_id else b""


def load_dhcp_config(call: Call) -> DhcpConfig:
    """Read and check the `ipam` object of a call.

    Raises:
        InvalidNetworkConfig: with all faults (code 7).
        UnsupportedField: a key that we do not know (code 2).
    """
    return DhcpConfig.parse(call.find("ipam"), "network configuration", at="ipam")
