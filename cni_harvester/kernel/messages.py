"""Wire formats of rtnetlink, taken from pyroute2 without running its package initialisation.

`import pyroute2` loads every protocol it knows: 130 ms, of which we need 25. The package is therefore entered into
`sys.modules` from its spec, unexecuted; its submodules then load one by one as usual.
"""

import importlib.util
import sys

if "pyroute2" not in sys.modules:
    _spec = importlib.util.find_spec("pyroute2")
    if _spec is None:
        raise ModuleNotFoundError("No module named 'pyroute2'", name="pyroute2")
    sys.modules["pyroute2"] = importlib.util.module_from_spec(_spec)

from pyroute2.netlink import nlmsg
from pyroute2.netlink.rtnl.br_vlan import br_vlan_msg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

__all__ = ["br_vlan_msg", "ifaddrmsg", "ifinfmsg", "nlmsg", "rtmsg"]
