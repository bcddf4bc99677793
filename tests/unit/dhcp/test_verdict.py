"""What sightings mean: each reason by the evidence for it, the offer that is taken, and what a person is warned of."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_harvester.dhcp.offer import Offer
from cni_harvester.dhcp.sightings import Sightings
from cni_harvester.dhcp.verdict import ADVICE, Reason, Verdict, choose_offer, judge_sightings, name_server
from cni_harvester.dhcp.wishes import Wishes
from cni_harvester.kernel.frames import Frame
from cni_harvester.wire.dhcp import Reply, decode_reply
from tests.unit.wire.packets import CLIENT_MAC, SERVER, SERVER_MAC, XID, make_offer, make_reply, pack_mac

WHERE, TAG = "VLAN 100 of cn1-br", 100
SECOND, SECOND_MAC = IPv4Address("192.0.2.2"), "02:00:00:00:00:02"
THIRD, THIRD_MAC = IPv4Address("192.0.2.3"), "02:00:00:00:00:03"
OTHER_CLIENT, OTHER_XID = "02:00:00:00:00:99", 0x99999999
ANY = Wishes()
ONLY_SECOND = Wishes(server=SECOND)
TRUST_SECOND = Wishes(trusted=frozenset({SECOND}))

Changes = dict[int, bytes | None]
NO_MASK: Changes = {1: None}
NO_ROUTER: Changes = {3: None}
REFUSAL: Changes = {53: b"\6", 56: b"not for you"}


def second(changes: Changes | None = None) -> bytes:
    """Make an answer of the second server, which gives the same network and gateway."""
    return make_offer({54: SECOND.packed} | (changes or {}), mac=SECOND_MAC, source=SECOND)


def third(changes: Changes | None = None) -> bytes:
    """Make an answer of the third server, which gives the same network and gateway."""
    return make_offer({54: THIRD.packed} | (changes or {}), mac=THIRD_MAC, source=THIRD)


def hear(frame: bytes, *, vlan: int | None = None, after_s: float = 0.1) -> Reply:
    """Read a frame that is a server's message."""
    reply = decode_reply(frame, vlan=vlan, at_s=100.0 + after_s)
    assert reply is not None
    return reply


def watch(
    *answers: bytes,
    uplink: Iterable[tuple[bytes, int | None]] = (),
    tagged: Iterable[tuple[bytes, int]] = (),
    senders: Iterable[str] = (),
    beyond: Iterable[str] | None = None,
    questions: int = 1,
    after_s: float = 0.1,
) -> Sightings:
    """Make the sightings of a probe: what its machine heard, tagged or not, what the uplink saw, and who was there."""
    seen = Sightings(CLIENT_MAC, xids={XID}, questions=questions, asked_at_s=100.0)
    for answer in answers:
        seen.note_reply(hear(answer, after_s=after_s))
    for answer, vlan in tagged:
        seen.note_reply(hear(answer, vlan=vlan))
    for answer, vlan in uplink:
        seen.note_at_uplink(hear(answer, vlan=vlan))
    for mac in senders:
        seen.note_sender(Frame(bytes(6) + pack_mac(mac) + b"\x08\x06", None, True, 0.0))
    seen.beyond = None if beyond is None else set()
    for mac in beyond or ():
        seen.note_beyond(Frame(bytes(6) + pack_mac(mac) + b"\x08\x06", TAG, True, 0.0))
    return seen


def judge(seen: Sightings, wishes: Wishes = ANY, tag: int | None = TAG) -> Verdict:
    """Judge the sightings of VLAN 100."""
    return judge_sightings(seen, wishes, WHERE, tag)


# --- each reason ---------------------------------------------------------------------------------------------------

STRANGER = make_offer(chaddr=OTHER_CLIENT, xid=OTHER_XID)
NAMED = "DHCP server 192.0.2.1 (02:00:00:00:00:01)"
NAMED_SECOND = "DHCP server 192.0.2.2 (02:00:00:00:00:02)"
TOO_SHORT = "the message is too short: 0 bytes, a DHCP message has 240 or more"

CASES: list[tuple[Sightings, Wishes, Reason, str]] = [
    (watch(make_offer()), ANY, Reason.FOUND, f"{NAMED} offers 192.0.2.0/24 via 192.0.2.1"),
    (watch(make_offer(NO_MASK), second()), ANY, Reason.FOUND, f"{NAMED_SECOND} offers 192.0.2.0/24 via 192.0.2.1"),
    (watch(make_offer(), second()), ONLY_SECOND, Reason.FOUND, f"{NAMED_SECOND} offers 192.0.2.0/24 via 192.0.2.1"),
    (watch(make_offer(), second()), TRUST_SECOND, Reason.FOUND, f"{NAMED_SECOND} offers 192.0.2.0/24 via 192.0.2.1"),
    (
        watch(make_offer(giaddr="192.0.2.9")),
        ANY,
        Reason.FOUND,
        f"{NAMED} through relay 192.0.2.9 offers 192.0.2.0/24 via 192.0.2.1",
    ),
    (watch(make_offer(NO_ROUTER)), ANY, Reason.NO_GATEWAY, f"{NAMED} offers 192.0.2.0/24 and no gateway"),
    (
        watch(),
        ANY,
        Reason.SILENCE,
        "nothing at all was heard on VLAN 100 of cn1-br, not even broadcasts (1 question in 5 s)",
    ),
    (
        watch(questions=2),
        Wishes(timeout_s=7.5),
        Reason.SILENCE,
        "nothing at all was heard on VLAN 100 of cn1-br, not even broadcasts (2 questions in 7.5 s)",
    ),
    (
        watch(senders=["02:00:00:00:00:77"]),
        ANY,
        Reason.NO_SERVER,
        "no DHCP server answers on VLAN 100 of cn1-br (1 question in 5 s); 1 other station can be heard there",
    ),
    (
        watch(senders=["02:00:00:00:00:77", "02:00:00:00:00:78", "02:00:00:00:00:77"]),
        ONLY_SECOND,
        Reason.NO_SERVER,
        "no DHCP server answers on VLAN 100 of cn1-br (1 question in 5 s); 2 other stations can be heard there",
    ),
    (
        watch(beyond=[]),
        ANY,
        Reason.SILENCE,
        "nothing at all was heard on VLAN 100 of cn1-br, not even broadcasts (1 question in 5 s)",
    ),
    (
        watch(senders=["02:00:00:00:00:77"], beyond=[]),
        ANY,
        Reason.SILENCE,
        "nothing at all was heard on VLAN 100 of cn1-br from beyond its uplink (1 question in 5 s), "
        "only 1 station of this node",
    ),
    (
        watch(senders=["02:00:00:00:00:77", "02:00:00:00:00:78"], beyond=[], questions=2),
        ANY,
        Reason.SILENCE,
        "nothing at all was heard on VLAN 100 of cn1-br from beyond its uplink (2 questions in 5 s), "
        "only 2 stations of this node",
    ),
    (
        watch(senders=["02:00:00:00:00:77", "02:00:00:00:00:78"], beyond=["02:00:00:00:00:78"]),
        ANY,
        Reason.NO_SERVER,
        "no DHCP server answers on VLAN 100 of cn1-br (1 question in 5 s); 1 other station can be heard there",
    ),
    (
        watch(STRANGER, senders=[SERVER_MAC], beyond=[]),
        ANY,
        Reason.OTHERS_ONLY,
        "DHCP answers on VLAN 100 of cn1-br were for 1 other client only",
    ),
    (
        watch(senders=["02:00:00:00:00:77"], beyond=[]),
        ANY,
        Reason.SILENCE,
        "nothing at all was heard on VLAN 100 of cn1-br from beyond its uplink (1 question in 5 s), "
        "only 1 station of this node",
    ),
    (
        watch(beyond=[]),
        ANY,
        Reason.SILENCE,
        "nothing at all was heard on VLAN 100 of cn1-br, not even broadcasts (1 question in 5 s)",
    ),
    (
        watch(senders=["02:00:00:00:00:77", "02:00:00:00:00:78"], beyond=["02:00:00:00:00:78"]),
        ANY,
        Reason.NO_SERVER,
        "no DHCP server answers on VLAN 100 of cn1-br (1 question in 5 s); 1 other station can be heard there",
    ),
    (
        watch(STRANGER, senders=[SERVER_MAC]),
        ANY,
        Reason.OTHERS_ONLY,
        "DHCP answers on VLAN 100 of cn1-br were for 1 other client only",
    ),
    (
        watch(STRANGER, make_offer(chaddr="02:00:00:00:00:98", xid=7)),
        ANY,
        Reason.OTHERS_ONLY,
        "DHCP answers on VLAN 100 of cn1-br were for 2 other clients only",
    ),
    (
        watch(STRANGER, uplink=[(make_offer(), 200)]),
        ANY,
        Reason.WRONG_VLAN,
        "the answer for VLAN 100 of cn1-br came back in another VLAN: VLAN 200 (server 192.0.2.1)",
    ),
    (
        watch(uplink=[(make_offer({54: None}), None)]),
        ANY,
        Reason.WRONG_VLAN,
        "the answer for VLAN 100 of cn1-br came back in another VLAN: untagged (server 02:00:00:00:00:01)",
    ),
    (
        watch(uplink=[(make_offer(), 200), (make_offer(), 100)]),
        ANY,
        Reason.WRONG_VLAN,
        "the answer for VLAN 100 of cn1-br came back in another VLAN: VLAN 200 (server 192.0.2.1)",
    ),
    (
        watch(tagged=[(make_offer(), 200)]),
        ANY,
        Reason.WRONG_VLAN,
        "the answer for VLAN 100 of cn1-br came back in another VLAN: VLAN 200 (server 192.0.2.1)",
    ),
    (
        watch(uplink=[(make_offer(), 100)], senders=[SERVER_MAC]),
        ANY,
        Reason.DROPPED_ON_NODE,
        "an answer for VLAN 100 of cn1-br came in at the uplink, and did not reach the machine",
    ),
    (
        watch(make_reply(b"")),
        ANY,
        Reason.MALFORMED,
        f"nothing but malformed answers on VLAN 100 of cn1-br: 02:00:00:00:00:01: {TOO_SHORT}",
    ),
    (
        watch(make_reply(b"", mac=SECOND_MAC), make_offer(xid=OTHER_XID), STRANGER),
        ANY,
        Reason.MALFORMED,
        "nothing but malformed answers on VLAN 100 of cn1-br: "
        f"02:00:00:00:00:01: its transaction 0x99999999 is none of ours; 02:00:00:00:00:02: {TOO_SHORT}",
    ),
    (watch(make_offer(NO_MASK)), ANY, Reason.FAULTY_OFFER, f"{NAMED}: there is no subnet mask (option 1)"),
    (
        watch(make_offer({1: None, 54: None})),
        ANY,
        Reason.FAULTY_OFFER,
        "DHCP server without identifier (02:00:00:00:00:01): there is no server identifier (option 54); "
        "there is no subnet mask (option 1)",
    ),
    (
        watch(make_offer(), second(NO_MASK)),
        ONLY_SECOND,
        Reason.FAULTY_OFFER,
        f"{NAMED_SECOND}: there is no subnet mask (option 1)",
    ),
    (
        watch(make_offer(REFUSAL), second(NO_MASK)),
        ANY,
        Reason.FAULTY_OFFER,
        f"{NAMED}: the server refuses (NAK): not for you; {NAMED_SECOND}: there is no subnet mask (option 1)",
    ),
    (watch(make_offer(REFUSAL)), ANY, Reason.REFUSED, f"{NAMED}: the server refuses (NAK): not for you"),
    (
        watch(make_offer(REFUSAL), second({53: b"\6"})),
        ANY,
        Reason.REFUSED,
        f"{NAMED}: the server refuses (NAK): not for you; {NAMED_SECOND}: the server refuses (NAK)",
    ),
    (
        watch(make_offer()),
        ONLY_SECOND,
        Reason.SERVER_SILENT,
        f"DHCP server 192.0.2.2 does not answer on VLAN 100 of cn1-br; what does: {NAMED}",
    ),
    (
        watch(make_offer(NO_MASK)),
        ONLY_SECOND,
        Reason.SERVER_SILENT,
        f"DHCP server 192.0.2.2 does not answer on VLAN 100 of cn1-br; what does: {NAMED}: "
        "there is no subnet mask (option 1)",
    ),
    (
        watch(beyond=["02:00:00:00:00:77"]),
        ANY,
        Reason.DROPPED_ON_NODE,
        "1 station of VLAN 100 of cn1-br can be heard at the uplink, and nothing reached the machine",
    ),
    (
        watch(make_offer()),
        dataclasses.replace(ONLY_SECOND, trusted=frozenset({SERVER})),
        Reason.SERVER_SILENT,
        f"DHCP server 192.0.2.2 does not answer on VLAN 100 of cn1-br; what does: {NAMED}",
    ),
    (
        watch(make_offer(), third()),
        TRUST_SECOND,
        Reason.UNTRUSTED_ONLY,
        f"only servers that are not trusted answer on VLAN 100 of cn1-br: {NAMED}; "
        "DHCP server 192.0.2.3 (02:00:00:00:00:03)",
    ),
]


@pytest.mark.parametrize(("seen", "wishes", "reason", "text"), CASES)
def test_reason_is_what_the_sightings_mean(seen: Sightings, wishes: Wishes, reason: Reason, text: str) -> None:
    """The strongest evidence decides, and the text says what it is."""
    verdict = judge(seen, wishes)
    assert (verdict.reason, verdict.text) == (reason, text)
    assert (verdict.offer is not None) == (reason in {Reason.FOUND, Reason.NO_GATEWAY})


def test_every_reason_is_reached() -> None:
    """No way in which a discovery ends is without a test."""
    assert {reason for _, _, reason, _ in CASES} == set(Reason)


def test_every_reason_but_success_comes_with_advice() -> None:
    """A person reads what to do next."""
    assert set(ADVICE) == set(Reason)
    assert [reason for reason, advice in ADVICE.items() if not advice] == [Reason.FOUND]
    assert judge(watch()).advice == ADVICE[Reason.SILENCE]


def test_answer_that_came_as_it_should_where_frames_are_untagged_was_dropped_on_the_node() -> None:
    """The untagged network's answers are untagged at the uplink."""
    assert judge(watch(uplink=[(make_offer(), None)]), tag=None).reason is Reason.DROPPED_ON_NODE
    assert judge(watch(uplink=[(make_offer(), 100)]), tag=None).reason is Reason.WRONG_VLAN


# --- which offer is taken ------------------------------------------------------------------------------------------


def make_ranked(*, gateway: bool, remarks: int, after_s: float, server: IPv4Address) -> Offer:
    """Make an offer that can be used, with what the rule looks at."""
    return Offer(
        kind=2,
        server=server,
        server_mac=SERVER_MAC,
        relay=None,
        address=IPv4Address("192.0.2.5"),
        network=IPv4Network("192.0.2.0/24"),
        gateway=SERVER if gateway else None,
        lease_s=3600,
        remarks=("a remark",) * remarks,
        answered_s=after_s,
    )


BEST = make_ranked(gateway=True, remarks=0, after_s=0.1, server=SERVER)
IN_ORDER = [
    BEST,
    make_ranked(gateway=True, remarks=0, after_s=0.1, server=SECOND),
    make_ranked(gateway=True, remarks=0, after_s=0.2, server=SERVER),
    make_ranked(gateway=True, remarks=1, after_s=0.1, server=SERVER),
    make_ranked(gateway=True, remarks=7, after_s=0.3, server=SERVER),
    make_ranked(gateway=False, remarks=0, after_s=0.1, server=SERVER),
    make_ranked(gateway=False, remarks=1, after_s=0.1, server=SERVER),
]


@pytest.mark.parametrize(("better", "worse"), list(itertools.combinations(IN_ORDER, 2)))
def test_better_offer_is_taken_whatever_came_first(better: Offer, worse: Offer) -> None:
    """A gateway, then fewer remarks, then the earlier one, then the lower server identifier."""
    assert choose_offer([better, worse], ANY) is better
    assert choose_offer([worse, better], ANY) is better


def test_no_offer_is_taken_of_none() -> None:
    """None is none."""
    assert choose_offer([], ANY) is None


@pytest.mark.parametrize(
    ("wishes", "server"),
    [
        (ANY, SERVER),
        (ONLY_SECOND, SECOND),
        (TRUST_SECOND, SECOND),
        (Wishes(trusted=frozenset({SECOND, THIRD})), SECOND),
        (Wishes(server=THIRD, trusted=frozenset({SECOND})), THIRD),
        (Wishes(server=IPv4Address("192.0.2.99")), None),
        (Wishes(trusted=frozenset({IPv4Address("192.0.2.99")})), None),
    ],
)
def test_offer_of_a_server_that_does_not_count_is_never_taken(wishes: Wishes, server: IPv4Address | None) -> None:
    """A named server is the only one that counts, else those that are trusted, else all."""
    offers = [dataclasses.replace(BEST, server=each) for each in (THIRD, SECOND, SERVER)]
    taken = choose_offer(offers, wishes)
    assert (taken.server if taken else None) == server


def test_offer_with_a_fault_is_never_taken() -> None:
    """However good it is otherwise."""
    assert choose_offer([dataclasses.replace(BEST, faults=("a fault",)), IN_ORDER[-1]], ANY) is IN_ORDER[-1]


offers = st.builds(
    lambda gateway, remarks, after_s, server, faulty: dataclasses.replace(
        make_ranked(gateway=gateway, remarks=remarks, after_s=after_s, server=server), faults=("a fault",) * faulty
    ),
    st.booleans(),
    st.integers(0, 3),
    st.sampled_from([0.1, 0.2, 3.0]),
    st.sampled_from([SERVER, SECOND, THIRD]),
    st.booleans(),
)


@given(st.lists(offers, max_size=6), st.sampled_from([ANY, ONLY_SECOND, TRUST_SECOND]))
def test_offer_that_is_taken_is_beaten_by_no_other(found: list[Offer], wishes: Wishes) -> None:
    """Whatever is offered: nothing faulty or foreign is taken, something is if it can be, and its rank is the least."""
    taken = choose_offer(found, wishes)
    able = [offer for offer in found if not offer.faults and (wishes == ANY or offer.server == SECOND)]
    assert (taken in able) if able else (taken is None)
    for other in able if taken else []:
        assert taken is not None
        if (taken.gateway is None) != (other.gateway is None):
            assert other.gateway is None
        elif len(taken.remarks) != len(other.remarks):
            assert len(taken.remarks) < len(other.remarks)
        elif taken.answered_s != other.answered_s:
            assert taken.answered_s < other.answered_s
        else:
            assert taken.server is not None
            assert other.server is not None
            assert taken.server <= other.server


@pytest.mark.parametrize(
    ("offer", "accepted"),
    [(BEST, True), (IN_ORDER[-1], False), (dataclasses.replace(BEST, faults=("a fault",)), False)],
)
def test_offer_that_ends_a_quick_discovery_has_a_gateway(offer: Offer, accepted: bool) -> None:
    """One without a gateway can be used, but a better one is waited for."""
    assert ANY.accepts(offer) is accepted
    assert ONLY_SECOND.accepts(offer) is False


# --- warnings ------------------------------------------------------------------------------------------------------

OTHER_GATEWAY: Changes = {3: IPv4Address("192.0.2.9").packed}
OTHER_NETWORK: Changes = {1: b"\xff\xff\xff\x80"}


def warn(seen: Sightings, wishes: Wishes = ANY) -> list[str]:
    """Return what a person is warned of."""
    return list(judge(seen, wishes).warnings)


def test_sound_answer_of_one_server_is_nothing_to_warn_of() -> None:
    """No news is good news."""
    assert warn(watch(make_offer())) == []


def test_servers_that_agree_are_nothing_to_warn_of() -> None:
    """Two servers of one network are usual; they may name another server and address, as long as the route is one."""
    assert warn(watch(make_offer(), second({51: b"\0\0\7\x08"}))) == []


def test_two_servers_that_disagree_are_both_shown() -> None:
    """A machine would get one route or the other by chance."""
    assert warn(watch(make_offer(), second(OTHER_GATEWAY))) == [
        "two DHCP servers on VLAN 100 of cn1-br disagree: "
        "192.0.2.1 (02:00:00:00:00:01) says 192.0.2.0/24 via 192.0.2.1; "
        "192.0.2.2 (02:00:00:00:00:02) says 192.0.2.0/24 via 192.0.2.9"
    ]


def test_two_servers_that_disagree_on_the_network_are_both_shown() -> None:
    """Another mask is another network."""
    assert warn(watch(make_offer(), second(OTHER_NETWORK))) == [
        "two DHCP servers on VLAN 100 of cn1-br disagree: "
        "192.0.2.1 (02:00:00:00:00:01) says 192.0.2.0/24 via 192.0.2.1; "
        "192.0.2.2 (02:00:00:00:00:02) says 192.0.2.0/25 via 192.0.2.1"
    ]


def test_two_stations_of_one_server_that_disagree_are_both_shown() -> None:
    """Somebody imitates the server: the identifier is the same, the MAC tells them apart."""
    (warning,) = warn(watch(make_offer(), make_offer(OTHER_GATEWAY, mac=SECOND_MAC)))
    assert warning.startswith("two DHCP servers on VLAN 100 of cn1-br disagree: 192.0.2.1 (02:00:00:00:00:01) says ")
    assert "; 192.0.2.1 (02:00:00:00:00:02) says 192.0.2.0/24 via 192.0.2.9" in warning


def test_server_that_contradicts_itself_is_shown_with_all_that_it_says() -> None:
    """One server, one MAC, and two routes, each named once, however often it was said."""
    seen = watch(make_offer(), make_offer(OTHER_GATEWAY), make_offer(OTHER_GATEWAY, yiaddr="192.0.2.6"), questions=3)
    assert warn(seen) == [
        f"{NAMED} on VLAN 100 of cn1-br contradicts itself: "
        "192.0.2.1 (02:00:00:00:00:01) says 192.0.2.0/24 via 192.0.2.1; "
        "192.0.2.1 (02:00:00:00:00:01) says 192.0.2.0/24 via 192.0.2.9"
    ]


def test_server_that_contradicts_itself_and_another_is_shown_with_both() -> None:
    """Two servers and three words."""
    (warning,) = warn(watch(make_offer(), make_offer(OTHER_GATEWAY), second(OTHER_NETWORK), questions=2))
    assert warning == (
        "two DHCP servers on VLAN 100 of cn1-br disagree: "
        "192.0.2.1 (02:00:00:00:00:01) says 192.0.2.0/24 via 192.0.2.1; "
        "192.0.2.1 (02:00:00:00:00:01) says 192.0.2.0/24 via 192.0.2.9; "
        "192.0.2.2 (02:00:00:00:00:02) says 192.0.2.0/25 via 192.0.2.1"
    )


def test_server_that_offers_several_addresses_does_not_contradict_itself() -> None:
    """Each question may be offered another address of the same network."""
    assert warn(watch(make_offer(), make_offer(yiaddr="192.0.2.6"), questions=2)) == []


def number_servers(count: int) -> list[bytes]:
    """Make the answers of many servers, the last of which disagrees."""
    changes: list[Changes] = [{}] * (count - 1) + [OTHER_GATEWAY]
    return [
        make_offer({54: IPv4Address(f"192.0.2.{10 + i}").packed} | change, mac=f"02:00:00:00:01:{i:02x}")
        for i, change in enumerate(changes)
    ]


@pytest.mark.parametrize(("count", "word"), [(2, "two"), (3, "three"), (4, "four"), (5, "5"), (12, "12")])
def test_servers_that_disagree_are_counted(count: int, word: str) -> None:
    """All servers are listed, those that agree with another as well, in the order of their answers."""
    (warning,) = warn(watch(*number_servers(count)))
    assert warning.startswith(
        f"{word} DHCP servers on VLAN 100 of cn1-br disagree: 192.0.2.10 (02:00:00:00:01:00) says "
    )
    said = warning.partition("disagree: ")[2].split("; ")
    assert [each.split(" ")[0] for each in said] == [f"192.0.2.{10 + i}" for i in range(count)]


def test_server_whose_answer_cannot_be_used_disagrees_with_nobody() -> None:
    """Its fault is shown instead."""
    assert warn(watch(make_offer(), second(NO_MASK | OTHER_GATEWAY))) == [
        f"{NAMED_SECOND}: there is no subnet mask (option 1)"
    ]


def test_server_that_is_not_trusted_is_reported_as_rogue() -> None:
    """Whether a trusted one answers or not; it is never used."""
    rogue = f"rogue {NAMED} on VLAN 100 of cn1-br: it is not in the list of trusted servers"
    assert warn(watch(make_offer(), second()), TRUST_SECOND) == [rogue]
    assert warn(watch(make_offer()), TRUST_SECOND) == [rogue]


def test_server_that_is_not_trusted_and_offers_several_addresses_is_reported_once() -> None:
    """One line for one station."""
    seen = watch(make_offer(), make_offer(yiaddr="192.0.2.6"), questions=2)
    assert len(warn(seen, TRUST_SECOND)) == 1
    assert judge(seen, TRUST_SECOND).text.count("192.0.2.1 ") == 1


def test_servers_that_are_trusted_are_no_rogues() -> None:
    """Nor is any server rogue where nobody said which ones are trusted."""
    assert warn(watch(make_offer(), second()), Wishes(trusted=frozenset({SERVER, SECOND}))) == []
    assert warn(watch(make_offer(), second()), ONLY_SECOND) == []


def test_refusal_of_a_server_that_is_not_trusted_is_shown() -> None:
    """A rogue server that only refuses is shown with what it said."""
    assert warn(watch(second(), make_offer(REFUSAL)), TRUST_SECOND) == [
        f"{NAMED}: the server refuses (NAK): not for you"
    ]


@pytest.mark.parametrize(
    ("after_s", "warnings"),
    [(0.1, []), (2.0, []), (2.06, [f"{NAMED} took 2.1 s to answer"]), (4.5, [f"{NAMED} took 4.5 s to answer"])],
)
def test_server_that_is_slow_is_named_with_its_time(after_s: float, warnings: list[str]) -> None:
    """More than two seconds are more than some clients wait."""
    seen = watch()
    seen.asked_at_s = 0.0
    reply = decode_reply(make_offer(), at_s=after_s)
    assert reply is not None
    seen.note_reply(reply)
    assert warn(seen) == warnings


def test_remarks_of_the_offer_that_is_taken_are_shown() -> None:
    """Those of others are in the report only."""
    seen = watch(make_offer({51: (30).to_bytes(4, "big")}), second({51: (30).to_bytes(4, "big"), 58: b""}))
    assert warn(seen) == [f"{NAMED}: the lease is short: 30 s"]


@pytest.mark.parametrize(
    ("questions", "answers", "warnings"),
    [
        (1, 1, []),
        (2, 2, []),
        (2, 1, []),
        (1, 2, ["DHCP server 192.0.2.1 (02:00:00:00:00:01) answered 2 times to 1"]),
        (2, 5, ["DHCP server 192.0.2.1 (02:00:00:00:00:01) answered 5 times to 2"]),
    ],
)
def test_server_that_answers_more_often_than_it_was_asked_is_named(
    questions: int, answers: int, warnings: list[str]
) -> None:
    """A loop in the network, or two relays to one server."""
    assert warn(watch(*[make_offer()] * answers, questions=questions)) == warnings


def test_server_without_identifier_that_answers_too_often_is_named_by_its_mac() -> None:
    """Also when nothing of it can be used."""
    assert warn(watch(*[make_offer({54: None})] * 3)) == [
        "DHCP server without identifier (02:00:00:00:00:01) answered 3 times to 1"
    ]


def test_answer_that_also_came_in_another_vlan_is_shown() -> None:
    """The network leaks into another VLAN; the way it came as it should is no news."""
    seen = watch(make_offer(), uplink=[(make_offer(), 300), (make_offer(), 100), (make_offer(), None)])
    assert warn(seen) == [
        "an answer for VLAN 100 of cn1-br came back in another VLAN: untagged (server 192.0.2.1)",
        "an answer for VLAN 100 of cn1-br came back in another VLAN: VLAN 300 (server 192.0.2.1)",
    ]


def test_malformed_answers_beside_a_sound_one_are_shown() -> None:
    """Something is wrong on the network, and does not keep us from using it."""
    seen = watch(make_reply(b"", mac=THIRD_MAC), make_offer(), second(NO_MASK))
    assert warn(seen) == [
        f"{NAMED_SECOND}: there is no subnet mask (option 1)",
        f"02:00:00:00:00:03: {TOO_SHORT}",
    ]


def test_what_explains_a_failure_is_not_said_again_as_a_warning() -> None:
    """Without an offer that is taken, the text has the evidence."""
    assert warn(watch(make_offer(NO_MASK), make_reply(b"", mac=THIRD_MAC), uplink=[(make_offer(), 300)])) == []


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({}, "DHCP server 192.0.2.1 (02:00:00:00:00:01)"),
        ({"server": None}, "DHCP server without identifier (02:00:00:00:00:01)"),
        ({"relay": IPv4Address("192.0.2.9")}, "DHCP server 192.0.2.1 (02:00:00:00:00:01) through relay 192.0.2.9"),
    ],
)
def test_server_is_named_by_all_that_is_known_of_it(change: dict[str, IPv4Address | None], name: str) -> None:
    """Identifier, MAC on this link, and the relay that the answer came through."""
    assert name_server(dataclasses.replace(BEST, **change)) == name


frames = st.sampled_from(
    [
        make_offer(),
        make_offer(NO_MASK),
        make_offer(NO_ROUTER),
        make_offer(REFUSAL),
        second(OTHER_GATEWAY),
        third(OTHER_NETWORK),
        make_offer({54: None}),
        make_offer(xid=OTHER_XID),
        make_offer(chaddr=OTHER_CLIENT),
        STRANGER,
        make_reply(b""),
    ]
)
notes: list[Callable[[Sightings, bytes, int | None], None]] = [
    lambda seen, frame, vlan: seen.note_reply(hear(frame, vlan=vlan)),
    lambda seen, frame, vlan: seen.note_at_uplink(hear(frame, vlan=vlan)),
    lambda seen, frame, vlan: seen.note_sender(Frame(frame, vlan, True, 0.0)),
    lambda seen, frame, vlan: seen.note_beyond(Frame(frame, vlan, True, 0.0)),
]


@given(
    st.lists(st.tuples(st.sampled_from(notes), frames, st.sampled_from([None, 100, 200])), max_size=8),
    st.sampled_from([ANY, ONLY_SECOND, TRUST_SECOND]),
    st.sampled_from([None, TAG]),
)
def test_sightings_of_any_kind_have_a_verdict(
    heard: list[tuple[Callable[[Sightings, bytes, int | None], None], bytes, int | None]],
    wishes: Wishes,
    tag: int | None,
) -> None:
    """Whatever was seen: one reason in one line, an offer exactly if one can be used, and no warning is empty."""
    seen = watch()
    for note, frame, vlan in heard:
        note(seen, frame, vlan)
    verdict = judge(seen, wishes, tag)
    assert verdict.text
    assert "\n" not in verdict.text
    assert all(verdict.warnings)
    assert verdict.offer == choose_offer(seen.offers, wishes)
    assert (verdict.reason in {Reason.FOUND, Reason.NO_GATEWAY}) == (verdict.offer is not None)
    assert (verdict.reason is Reason.FOUND) == bool(verdict.offer and verdict.offer.gateway)
