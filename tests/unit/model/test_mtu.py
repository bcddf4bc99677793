"""The MTU of an attachment."""

import pytest

from cni_harvester.errors import InvalidNetworkConfig
from cni_harvester.model.mtu import inherit_mtu


@pytest.mark.parametrize(
    ("requested", "bridge_mtu", "mtu"),
    [(0, 1500, 1500), (0, 9000, 9000), (1450, 1500, 1450), (1500, 1500, 1500), (68, 68, 68), (0, 65535, 65535)],
)
def test_mtu_is_the_requested_one_or_inherited_from_the_bridge(requested: int, bridge_mtu: int, mtu: int) -> None:
    """0 inherits the bridge's MTU; a request up to it is granted."""
    assert inherit_mtu(requested, "cn1-br", bridge_mtu) == mtu


def test_mtu_above_the_bridges_is_refused_with_both_values() -> None:
    """Frames above the bridge's MTU would be dropped without a trace, so the request is refused."""
    with pytest.raises(InvalidNetworkConfig) as caught:
        inherit_mtu(1501, "cn1-br", 1500)
    assert caught.value.msg == ('invalid network configuration: mtu: 1501 is above the MTU 1500 of bridge "cn1-br"')
    assert "inherit 1500" in caught.value.details
