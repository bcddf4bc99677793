"""What a busy uplink lets through to us: all that tells something, and of the rest no more than we can read.

A VLAN needs to be heard once. So where there is too much, those that were heard already are heard at random from then
on, and nothing of the others gets lost. The kernel does that, by a classic BPF program
(Documentation/networking/filter.rst). The tag is taken off before the program sees the frame, and told beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from cni_harvester.kernel.frames import Instruction

_LOAD_WORD, _LOAD_HALF, _LOAD_BYTE = 0x20, 0x28, 0x30  # A = so much of the frame
_LOAD_VALUE, _LOAD_STORED, _STORE = 0x00, 0x60, 0x02  # A = operand; A = M[operand]; M[operand] = A
_LOAD_HEADER_LENGTH, _LOAD_HALF_AT_X = 0xB1, 0x48
_A_TO_X, _X_TO_A = 0x07, 0x87
_AND, _SHIFT_RIGHT, _SHIFT_RIGHT_BY_X = 0x54, 0x74, 0x7C
_JUMP, _JUMP_IF_EQUAL, _JUMP_IF_GREATER, _JUMP_IF_SET = 0x05, 0x15, 0x25, 0x45
_RETURN = 0x06
_VLAN_TAG, _RANDOM = 0xFFFFF000 + 44, 0xFFFFF000 + 56  # SKF_AD_OFF and what lies behind it, linux/filter.h

_WHOLE, _SNIP = 0xFFFFFFFF, 64  # bytes to be copied
_TOO_MANY_A_SECOND, _WANTED_A_SECOND = 2000, 1000
_WORD_BITS = 32

WINDOW_S = 0.25
"""How long ordinary frames are counted before their rate is judged."""

_Line = str | tuple[int, str, str, int]
"""A label, or an instruction: code, label to jump to if true, if false (empty: the next instruction), operand."""

NOTHING: tuple[Instruction, ...] = ((_RETURN, 0, 0, 0),)
"""Lets nothing pass: what was heard before can be read to its end."""


@dataclass(frozen=True)
class Sieve:
    """What passes of ordinary frames.

    Attributes:
        known: VLANs that were heard already, 0 for untagged frames; the frames of all others pass.
        one_in: of the known ones' frames, one of so many passes, at random.
    """

    known: frozenset[int] = frozenset()
    one_in: int = 1


def tighten(sieve: Sieve, heard: Mapping[int, int], seconds: float) -> Sieve:
    """Return the sieve to use from now on: the same, unless more passes than we want to read. It never gets wider.

    Args:
        sieve: the one in use.
        heard: how many ordinary frames passed it, by VLAN.
        seconds: how long that took.
    """
    if sum(heard.values()) <= _TOO_MANY_A_SECOND * seconds:
        return sieve
    sent = sum(count * (sieve.one_in if vlan in sieve.known else 1) for vlan, count in heard.items())
    return Sieve(sieve.known | heard.keys(), max(sieve.one_in, -int(-sent // (_WANTED_A_SECOND * seconds))))


def make_program(sieve: Sieve) -> tuple[Instruction, ...]:
    """Make the filter: DHCP replies, ARP, BPDUs, LLDP and CDP pass whole; of others what the sieve says, their heads.

    Conditional jumps reach 255 instructions, so what is long comes last.
    """
    lines = [*_TELLING, "whole", (_RETURN, "", "", _WHOLE), "ordinary"]
    if sieve.known and sieve.one_in > 1:
        lines += [
            *_find_known(sieve.known),
            "known",
            (_LOAD_WORD, "", "", _RANDOM),
            (_JUMP_IF_GREATER, "", "snip", 0xFFFFFFFF // sieve.one_in),
            (_RETURN, "", "", 0),
        ]
    return _assemble([*lines, "snip", (_RETURN, "", "", _SNIP)])


_TELLING: tuple[_Line, ...] = (
    (_LOAD_HALF, "", "", 12),  # EtherType
    (_JUMP_IF_EQUAL, "whole", "", 0x0806),  # ARP
    (_JUMP_IF_EQUAL, "whole", "", 0x88CC),  # LLDP
    (_JUMP_IF_EQUAL, "", "groups", 0x0800),  # IPv4
    (_LOAD_BYTE, "", "", 23),  # protocol
    (_JUMP_IF_EQUAL, "", "ordinary", 17),  # UDP
    (_LOAD_HALF, "", "", 20),  # fragment offset
    (_JUMP_IF_SET, "ordinary", "", 0x1FFF),  # a later fragment has no ports
    (_LOAD_HEADER_LENGTH, "", "", 14),
    (_LOAD_HALF_AT_X, "", "", 16),  # destination port
    (_JUMP_IF_EQUAL, "whole", "ordinary", 68),  # a DHCP client's
    "groups",
    (_LOAD_WORD, "", "", 0),
    (_JUMP_IF_EQUAL, "", "cisco", 0x0180C200),  # 01:80:c2:00:00:00 to :0f, IEEE 802.1Q-2018, table 8-1
    (_LOAD_HALF, "", "", 4),
    (_JUMP_IF_GREATER, "ordinary", "whole", 0x000F),
    "cisco",
    (_JUMP_IF_EQUAL, "", "ordinary", 0x01000CCC),  # 01:00:0c:cc:cc:cc and :cd
    (_LOAD_HALF, "", "", 4),
    (_JUMP_IF_EQUAL, "whole", "", 0xCCCC),
    (_JUMP_IF_EQUAL, "whole", "ordinary", 0xCCCD),
)


def _find_known(known: frozenset[int]) -> list[_Line]:
    """Make the look-up of the VID in a bitmap of 128 words, of which only those are there that are not empty."""
    words: dict[int, int] = {}
    for vid in known:
        words[vid // _WORD_BITS] = words.get(vid // _WORD_BITS, 0) | 1 << vid % _WORD_BITS
    lines: list[_Line] = [
        (_LOAD_WORD, "", "", _VLAN_TAG),  # 0 when there is none
        (_AND, "", "", 0x0FFF),
        (_A_TO_X, "", "", 0),
        (_SHIFT_RIGHT, "", "", 5),
    ]
    for number, bits in sorted(words.items()):
        lines += [(_JUMP_IF_EQUAL, "", f"not {number}", number), (_LOAD_VALUE, "", "", bits), (_JUMP, "bit", "", 0)]
        lines.append(f"not {number}")
    lines += [(_JUMP, "snip", "", 0), "bit", (_STORE, "", "", 0), (_X_TO_A, "", "", 0), (_AND, "", "", 31)]
    lines += [(_A_TO_X, "", "", 0), (_LOAD_STORED, "", "", 0), (_SHIFT_RIGHT_BY_X, "", "", 0)]
    lines.append((_JUMP_IF_SET, "known", "snip", 1))
    return lines


def _assemble(lines: list[_Line]) -> tuple[Instruction, ...]:
    """Turn labels into distances, which count from the instruction after the jump; an unconditional one is farther."""
    places: dict[str, int] = {}
    instructions: list[tuple[int, str, str, int]] = []
    for line in lines:
        if isinstance(line, str):
            places[line] = len(instructions)
        else:
            instructions.append(line)
    program: list[Instruction] = []
    for at, (code, if_true, if_false, operand) in enumerate(instructions, start=1):
        far, near = (places[label] - at if label else 0 for label in (if_true, if_false))
        program.append((code, 0, 0, far) if code == _JUMP else (code, far, near, operand))
    return tuple(program)
