"""The front door: a runtime comes in with CNI_COMMAND in the environment, a person with words on the command line."""

import gc
import os
import signal
import sys
from types import FrameType
from typing import NoReturn


def main() -> NoReturn:
    """Serve one call and end the process, without taking Python down object by object first: 10 ms."""
    status = serve_runtime() if os.environ.get("CNI_COMMAND") else serve_person(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def serve_runtime() -> int:
    """Answer the CNI request of this process's environment and standard input.

    Garbage is not collected, for the process ends soon: 30 ms of an ADD.
    """
    gc.disable()
    from cni_harvester.attach import handle
    from cni_harvester.cni.request import Request, Response

    signal.signal(signal.SIGTERM, _roll_back_and_exit)
    try:
        stdin = b"" if os.environ["CNI_COMMAND"] == "VERSION" else sys.stdin.buffer.read()
    except (OSError, AttributeError) as e:
        reason = e if isinstance(e, OSError) else "it is closed"  # Python has no sys.stdin then
        from cni_harvester.cni.dispatch import fail
        from cni_harvester.errors import ReadFailed

        response: Response = fail(
            ReadFailed(f"error reading from stdin: {reason}", "pass the network configuration on it")
        )
    else:
        response = handle(Request(dict(os.environ), stdin))
    sys.stderr.write(response.stderr)
    sys.stdout.buffer.write(response.stdout)
    return response.exit_status


def serve_person(words: list[str]) -> int:
    """Run a command line; without any word, say what this is, as CNI plugins do."""
    if not words:
        from cni_harvester.cni.dispatch import about

        sys.stderr.write(about())
        return 0
    from cni_harvester.cli.main import run

    signal.signal(signal.SIGTERM, _roll_back_and_exit)
    return run(words)


def _roll_back_and_exit(number: int, _: FrameType | None) -> NoReturn:
    """End by an exception, so that what an ADD did so far is undone on the way out."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
