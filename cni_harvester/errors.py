"""Every error the program can report, with its CNI code, whether a retry may help, and who must act.

    HarvesterError                          code  retry  who acts
    ├─ RequestError                                      author of the configuration, or the runtime
    │  ├─ IncompatibleVersion                  1   no
    │  ├─ UnsupportedField                     2   no
    │  ├─ UnknownContainer                     3   no    nobody: there is nothing to clean up
    │  ├─ InvalidEnvironment                   4   no
    │  ├─ ReadFailed                           5   no
    │  ├─ DecodeFailed                         6   no
    │  ├─ InvalidNetworkConfig                 7   no
    │  └─ InvalidNamespace                     8   no
    ├─ TryAgainLater                          11   yes   nobody: the runtime retries
    ├─ NotReady                               50   -     node administrator (STATUS, probes)
    ├─ LimitedConnectivity                    51   -     node administrator (STATUS only)
    ├─ NodeError                                         node administrator
    │  ├─ BridgeMissing                      100   no
    │  ├─ UplinkRefused                      101   no
    │  ├─ VlanNotIsolated                    102   no
    │  ├─ NameTaken                          103   no
    │  ├─ NotOurs                            104   no
    │  ├─ FeatureMissing                     105   no
    │  └─ KernelRefused                      106   by errno (then code 11)
    ├─ VerificationFailed                    110   no    node administrator
    ├─ RollbackFailed                        112   no    node administrator: the node is left changed
    ├─ DelegateFailed             inner's or 113  -     whoever the delegate's own error names
    ├─ GcIncomplete                          140   yes   node administrator
    └─ Bug                                   999   no    us

Codes 1-99 are the CNI specification's (section "Error"), 8 is libcni's, 100 and up are ours. `msg` is one line,
`cannot <verb> "<object>": <cause>`; `details` says what was expected and what to do next. Callers match on classes,
never on text. docs/errors.md is checked against this tree by a test.
"""

import errno as errnos


class HarvesterError(Exception):
    """Root of all errors we report; `msg` is one line, `details` what was expected and what to do next."""

    code: int = 999
    retryable: bool = False
    who_acts: str = "the authors of cni-harvester"

    def __init__(self, msg: str, details: str = "") -> None:
        super().__init__(msg)
        self.msg = msg
        self.details = details


class RequestError(HarvesterError):
    """The request itself is at fault: nothing was changed."""

    who_acts = "the author of the network configuration, or the runtime"


class IncompatibleVersion(RequestError):
    """The configuration's `cniVersion` is not supported, or cannot express what is asked."""

    code = 1


class UnsupportedField(RequestError):
    """The configuration has a field or value that we know of and do not support; `msg` names key and value."""

    code = 2


class UnknownContainer(RequestError):
    """The container's namespace does not exist; the runtime need not clean up (CNI specification, code 3)."""

    code = 3
    who_acts = "nobody: there is nothing to clean up"


class InvalidEnvironment(RequestError):
    """A `CNI_*` variable is missing or invalid; `msg` names the variables."""

    code = 4


class ReadFailed(RequestError):
    """Standard input, or a file that a person named, could not be read."""

    code = 5


class DecodeFailed(RequestError):
    """Standard input, or what a delegate printed, is not the JSON it should be."""

    code = 6


class InvalidNetworkConfig(RequestError):
    """The network configuration is invalid; `msg` lists every fault by its JSON path."""

    code = 7


class InvalidNamespace(RequestError):
    """`CNI_NETNS` is the plugin's own network namespace (libcni's code 8, absent from the specification)."""

    code = 8


class TryAgainLater(HarvesterError):
    """Something that passes by itself stood in the way; the runtime should retry (CNI code 11)."""

    code = 11
    retryable = True
    who_acts = "nobody: the runtime retries"


class NotReady(HarvesterError):
    """An ADD would fail now (CNI code 50); STATUS says so, and a probe that sets nothing up itself."""

    code = 50
    who_acts = "the node administrator"


class LimitedConnectivity(HarvesterError):
    """STATUS: an ADD would fail now, and existing attachments may suffer too (CNI code 51); an IPAM plugin says so."""

    code = 51
    who_acts = "the node administrator"


class NodeError(HarvesterError):
    """The node is not in the state that the request needs."""

    who_acts = "the node administrator"


class BridgeMissing(NodeError):
    """The bridge of the network does not exist on this node."""

    code = 100


class UplinkRefused(NodeError):
    """The uplink of the cluster network did not take the attachment's VLANs."""

    code = 101


class VlanNotIsolated(NodeError):
    """The bridge does not filter VLANs, or has none for untagged frames: isolation or connectivity would be missing."""

    code = 102


class NameTaken(NodeError):
    """An interface of that name exists already, on the node or in the container."""

    code = 103


class NotOurs(NodeError):
    """The object exists and is not what we manage, so it is left alone."""

    code = 104


class FeatureMissing(NodeError):
    """The kernel, or a program, lacks something that the configuration asks for."""

    code = 105


class KernelRefused(NodeError):
    """The kernel refused an operation.

    `errno` is the kernel's error number. Busy-like errors are reported as code 11, so that the runtime retries.
    """

    code = 106

    _PASSING = frozenset({errnos.EBUSY, errnos.EAGAIN, errnos.ENOBUFS, errnos.EINTR, errnos.ENOMEM})

    def __init__(self, msg: str, details: str = "", *, errno: int) -> None:
        super().__init__(msg, details)
        self.errno = errno
        if errno in self._PASSING:
            self.code = TryAgainLater.code
            self.retryable = True


class VerificationFailed(HarvesterError):
    """What the kernel shows differs from what was asked; `msg` names every mismatch with both values."""

    code = 110
    who_acts = "the node administrator"


class RollbackFailed(HarvesterError):
    """An operation failed and could not be undone; `details` lists what was left changed."""

    code = 112
    who_acts = "the node administrator: the node is left changed"


class DelegateFailed(HarvesterError):
    """An IPAM plugin failed; `code`, `msg` and `details` are its own."""

    who_acts = "whoever the delegate's error names"

    def __init__(self, msg: str, details: str = "", *, code: int) -> None:
        super().__init__(msg, details)
        self.code = code
        self.retryable = code == TryAgainLater.code


class GcIncomplete(HarvesterError):
    """GC removed what it could and failed at the rest; `details` lists each failure."""

    code = 140
    retryable = True
    who_acts = "the node administrator"


class Bug(HarvesterError):
    """A fault of the program itself; the traceback goes to standard error."""

    code = 999
