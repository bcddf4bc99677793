"""The annotation `network.harvesterhci.io/route` as text: read with every fault named, written as Harvester does."""

import ipaddress
import json
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from cni_harvester.cni.document import Document
from cni_harvester.cni.request import decode_object
from cni_harvester.errors import DecodeFailed, InvalidNetworkConfig
from cni_harvester.model import route as rules
from cni_harvester.model.route import Address, Network, Route

ROUTE_ANNOTATION = "network.harvesterhci.io/route"
"""Harvester's own annotation: what its user interface, its load balancers and guest clusters read."""

DISCOVERY_ANNOTATION = "cni-harvester.io/discovery"
"""Ours, beside it: how a discovery went."""

_WHAT = "route annotation"
_NIL = "<nil>"
"""What Go prints for an address that is missing, and releases of Harvester wrote down for an answer without one."""

_CIDR = re.compile(r"[0-9A-Fa-f:.]+/[0-9]{1,3}")
_ADDRESS = re.compile(r"[0-9A-Fa-f:.]+")


def _parse_cidr(text: str) -> Network:
    """Read a network as Go's net.ParseCIDR does: the mask is a length, and bits behind it are cleared."""
    try:
        if _CIDR.fullmatch(text):
            return ipaddress.ip_network(text, strict=False)
    except ValueError:
        pass
    raise ValueError("must be a network such as 192.0.2.0/24")


def _parse_address(text: str) -> Address:
    """Read an address as Go's net.ParseIP does, which knows no zones."""
    try:
        if _ADDRESS.fullmatch(text):
            return ipaddress.ip_address(text)
    except ValueError:
        pass
    raise ValueError("must be an IP address such as 192.0.2.1")


def _check_with(parse: Callable[[str], object]) -> AfterValidator:
    """Make the validator of cidr and gateway, which look at the mode, so it is validated before them."""

    def check(value: str, info: ValidationInfo) -> str:
        mode = info.data.get("mode")
        if mode == rules.AUTO and value == _NIL:
            return ""
        if mode == rules.MANUAL and not value:
            raise ValueError("must be given in mode manual")
        if value:
            parse(value)
        return value

    return AfterValidator(check)


def _check_server(value: str) -> str:
    if value:
        _parse_address(value)
    return value


def _check_one_of(known: tuple[str, ...]) -> AfterValidator:
    def check(value: str) -> str:
        if value and value not in known:
            raise ValueError(f"must be one of {', '.join(map(repr, known))}, or empty")
        return value

    return AfterValidator(check)


class _RouteDocument(Document):
    """The annotation; Harvester's user interface writes all of its keys, and empty text for what is not set."""

    mode: Annotated[str, _check_one_of(rules.MODES)] = ""
    server: Annotated[str, AfterValidator(_check_server)] = Field(default="", alias="serverIPAddr")
    cidr: Annotated[str, _check_with(_parse_cidr)] = Field(default="", validate_default=True)
    gateway: Annotated[str, _check_with(_parse_address)] = Field(default="", validate_default=True)
    connectivity: Annotated[str, _check_one_of(rules.CONNECTIVITY)] = ""
    outdated: bool = False

    @model_validator(mode="after")
    def _check_manual(self) -> "_RouteDocument":
        # Not in mode auto: what was found wrongly is for the next discovery to replace, and must not stand in its way.
        if self.mode == rules.MANUAL and (faults := rules.find_route_faults(_parse_cidr(self.cidr), self._gateway())):
            raise ValueError("; ".join(faults))
        return self

    def _gateway(self) -> Address:
        return _parse_address(self.gateway)

    def to_route(self) -> Route:
        """Make the route that the annotation says, now that it is known to be sound."""
        return Route(
            mode=self.mode,
            cidr=_parse_cidr(self.cidr) if self.cidr else None,
            gateway=self._gateway() if self.gateway else None,
            server=_parse_address(self.server) if self.server else None,
            connectivity=self.connectivity,
            outdated=self.outdated,
        )


def parse_route(text: str) -> Route:
    """Read the annotation; the empty text is an empty route, for so Harvester takes it.

    Keys that are unknown are left alone. Manual routes have a CIDR and a gateway that go together.

    Raises:
        InvalidNetworkConfig: all faults, by JSON path (code 7).
    """
    return _RouteDocument.parse(_decode(text), _WHAT).to_route()


def format_route(route: Route, previous: str = "") -> str:
    """Write the annotation, in Harvester's order of keys and without those that are empty.

    Args:
        route: what it shall say.
        previous: the annotation that is replaced. Keys in it that we do not know are kept, and so is the spelling of
            an address or a network that stays the same, for a person may have written it.

    Raises:
        InvalidNetworkConfig: `previous` is no JSON object (code 7).
    """
    before = _decode(previous)
    old = {key.lower(): value for key, value in before.items() if value is not None}
    values = {
        "mode": route.mode,
        "serverIPAddr": _spell(_parse_address, route.server, old.get("serveripaddr")),
        "cidr": _spell(_parse_cidr, route.cidr, old.get("cidr")),
        "gateway": _spell(_parse_address, route.gateway, old.get("gateway")),
        "connectivity": route.connectivity,
        "outdated": route.outdated,
    }
    known = {key.lower() for key in values}
    unknown = {key: value for key, value in before.items() if key.lower() not in known}
    try:
        return json.dumps({key: value for key, value in values.items() if value} | unknown, separators=(",", ":"))
    except RecursionError as e:
        raise InvalidNetworkConfig(f"invalid {_WHAT}: it is nested too deep", "no route needs a thousand levels") from e


def _spell(parse: Callable[[str], object], value: Address | Network | None, before: object) -> str:
    """Write a value as it was written before, if that meant the same; empty for None."""
    if value is None:
        return ""
    try:
        return before if isinstance(before, str) and parse(before) == value else str(value)
    except ValueError:
        return str(value)


def _decode(text: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        return decode_object(text.encode(errors="surrogatepass"), _WHAT)
    except DecodeFailed as e:
        reason = e.msg.removeprefix(f"error decoding {_WHAT}: ")
        raise InvalidNetworkConfig(f"invalid {_WHAT}: {reason}", 'it is a JSON object such as {"mode":"auto"}') from e
