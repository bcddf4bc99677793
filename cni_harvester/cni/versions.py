"""CNI specification versions: which we speak, and what each can express."""

from cni_harvester.errors import DecodeFailed, IncompatibleVersion

SUPPORTED = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
NEWEST = SUPPORTED[-1]
OLDEST = SUPPORTED[0]

_MINIMUM = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}

Version = tuple[int, ...]


def parse_version(text: str) -> Version:
    """Read `major.minor.micro` (later parts may be missing); raise DecodeFailed for anything else."""
    parts = text.split(".")
    if len(parts) > 3 or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise DecodeFailed(f"invalid cniVersion {text!r}", "a version is up to three numbers, such as 1.0.0")
    return tuple(int(part) for part in [*parts, "0", "0"][:3])


def is_at_least(version: str, minimum: str) -> bool:
    """Compare two supported versions."""
    return parse_version(version) >= parse_version(minimum)


def require_supported(version: str, command: str) -> None:
    """Refuse a configuration whose version we do not speak, or in which the command does not exist.

    Raises:
        DecodeFailed: CHECK, GC or STATUS with a version that is none.
        IncompatibleVersion: otherwise.
    """
    minimum = _MINIMUM.get(command)
    if minimum:
        wanted = parse_version(version)
        if wanted < parse_version(minimum):
            raise IncompatibleVersion(
                f"config version does not allow {command}",
                f'cniVersion is "{version}", {command} needs {minimum}',
            )
        if wanted > parse_version(NEWEST):
            raise IncompatibleVersion(f"plugin version does not allow {command}", _supported_hint(version))
    if version not in SUPPORTED:
        raise IncompatibleVersion("incompatible CNI versions", _supported_hint(version))


def _supported_hint(version: str) -> str:
    return f'config is "{version}", plugin supports {", ".join(SUPPORTED)}'
