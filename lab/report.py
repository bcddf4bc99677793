"""What the viewer of the demo reads: steps, claims that were verified, and what the plugin said."""

import os
import sys
import textwrap
import time

_WIDTH = 100
_BOLD, _RED, _GREEN = "1", "31", "32"


class DemoFailedError(Exception):
    """Something is not as it must be."""


class Report:
    """What the viewer reads, and the count of what was verified."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._colourful = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._steps = 0
        self.checks = 0

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._start

    def _paint(self, colour: str, text: str) -> str:
        return f"\033[{colour}m{text}\033[0m" if self._colourful else text

    def say(self, text: str) -> None:
        """Print a line at once, for the next one may take a while."""
        print(text, flush=True)

    def start_step(self, title: str) -> None:
        """Print the heading of a step, with the time at which it starts."""
        self._steps += 1
        heading = f"[{self.elapsed:5.1f} s]  {self._steps}. {title}"
        self.say(f"\n{self._paint(_BOLD, heading)}")

    def verify(self, claim: str, found: object, expected: object = True) -> None:
        """Print a claim that holds; end the demo at one that does not.

        Raises:
            DemoFailedError: what was found is not what was expected.
        """
        if found != expected:
            self.say(f"  {self._paint(_RED, '✗')} {claim}")
            raise DemoFailedError(f"{' '.join(claim.split())}: expected {expected}, found {found}")
        self.checks += 1
        self.say(f"  {self._paint(_GREEN, '✓')} {claim}")

    def quote(self, text: str) -> None:
        """Print what the plugin said below a claim, in lines that fit."""
        for line in textwrap.wrap(text, _WIDTH - 6, break_long_words=False, break_on_hyphens=False):
            self.say(f"      {line}")
