"""Which head goes to which session."""

from datetime import timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from workstation.domain.assign import Assignment, Head, Taker, assign

LONG = timedelta(minutes=1)


def head(number: int, lane: str = "a1", rank: int = 5, due: float = 60, **more: object) -> Head:
    fields: dict[str, object] = {"type": "t", "suspect": False, **more}
    return Head(number, lane, rank=rank, due_for=timedelta(seconds=due), **fields)  # type: ignore[arg-type]


def taker(number: int, *lanes: str, credit: int = 1, **more: object) -> Taker:
    return Taker(UUID(int=number), number, frozenset(lanes or {"a1"}), credit, **more)  # type: ignore[arg-type]


def given_to(result: Assignment) -> list[tuple[int, int]]:
    return [(head.task_id, taker.agent_id) for head, taker in result.given]


def test_the_highest_rank_goes_first_then_the_longest_due_then_the_lowest_id() -> None:
    heads = [head(4), head(3), head(2, due=61), head(1, rank=4), head(9, rank=10, due=0)]
    assert [task for task, _ in given_to(assign(heads, [taker(1, credit=9)]))] == [9, 2, 3, 4, 1]


def test_order_holds_across_lanes() -> None:
    heads = [head(1, "a1", rank=3), head(2, "cx", rank=7)]
    assert given_to(assign(heads, [taker(1, "a1", "cx")])) == [(2, 1)]


def test_nobody_gets_more_than_its_credit_and_the_lane_is_starved() -> None:
    result = assign([head(1), head(2), head(3)], [taker(1, credit=2)])
    assert given_to(result) == [(1, 1), (2, 1)]
    assert result.starved == {"a1"} and result.blocked == set()


def test_the_emptiest_session_takes_next() -> None:
    takers = [taker(1, credit=4), taker(2, credit=4)]
    shares = [agent for _, agent in given_to(assign([head(n) for n in range(4)], takers))]
    assert sorted(shares) == [1, 1, 2, 2]


def test_healthy_goes_before_degraded_however_full() -> None:
    takers = [taker(1, "cx", credit=9, degraded=True), taker(2, "cx", credit=1, held=8)]
    assert given_to(assign([head(1, "cx"), head(2, "cx")], takers)) == [(1, 2), (2, 1)]


def test_a_degraded_agent_waits_five_seconds_for_capability_tasks_only() -> None:
    degraded = [taker(1, "a1", "cx", credit=9, degraded=True)]
    heads = [head(1, "cx", due=4.9), head(2, "cx", due=5), head(3, "a1", due=0)]
    result = assign(heads, degraded)
    assert sorted(given_to(result)) == [(2, 1), (3, 1)]
    assert result.blocked == {"cx"}


def test_types_bind_capability_lanes_only() -> None:
    picky = [taker(1, "a1", "cx", credit=9, types=frozenset({"ping"}))]
    heads = [head(1, "cx", type="pong"), head(2, "cx", type="ping"), head(3, "a1", type="pong")]
    result = assign(heads, picky)
    assert sorted(given_to(result)) == [(2, 1), (3, 1)]
    assert result.blocked == {"cx"}


def test_a_type_goes_to_the_one_who_does_it() -> None:
    takers = [taker(1, "cx", credit=5, types=frozenset({"a"})), taker(2, "cx", credit=1, types=frozenset({"b"}))]
    assert given_to(assign([head(1, "cx", type="b")], takers)) == [(1, 2)]


def test_suspects_run_one_at_a_time_on_an_instance() -> None:
    takers = [taker(1, credit=9), taker(2, credit=9, holds_suspect=True)]
    result = assign([head(n, suspect=True) for n in range(1, 4)] + [head(4, rank=1)], takers)
    suspects = [pair for pair in given_to(result) if pair[0] < 4]
    assert suspects == [(1, 1)]
    assert 4 in [task for task, _ in given_to(result)]
    assert result.blocked == {"a1"} and result.starved == set()


def test_a_lane_that_nobody_serves_is_starved() -> None:
    result = assign([head(1, "a7")], [taker(1)])
    assert result.given == [] and result.starved == {"a7"}


HEADS = st.lists(
    st.builds(
        Head,
        task_id=st.integers(1, 10**6),
        lane=st.sampled_from(["a1", "cx", "cy"]),
        type=st.sampled_from(["p", "q"]),
        rank=st.integers(1, 10),
        due_for=st.integers(0, 20).map(lambda seconds: timedelta(seconds=seconds)),
        suspect=st.booleans(),
    ),
    max_size=40,
    unique_by=lambda head: head.task_id,
)
TAKERS = st.lists(
    st.builds(
        Taker,
        instance_id=st.uuids(),
        agent_id=st.integers(1, 3),
        lanes=st.frozensets(st.sampled_from(["a1", "cx", "cy"]), min_size=1),
        credit=st.integers(0, 6),
        types=st.none() | st.frozensets(st.sampled_from(["p", "q"])),
        degraded=st.booleans(),
        holds_suspect=st.booleans(),
        held=st.integers(0, 5),
    ),
    max_size=5,
    unique_by=lambda taker: taker.instance_id,
)


@given(heads=HEADS, takers=TAKERS)
def test_whatever_comes_every_rule_holds(heads: list[Head], takers: list[Taker]) -> None:
    before = {taker.instance_id: (taker.credit, taker.holds_suspect) for taker in takers}
    result = assign(heads, takers)
    given_heads = [head for head, _ in result.given]
    assert len({head.task_id for head in given_heads}) == len(given_heads)
    for taker_ in takers:
        mine = [head for head, to in result.given if to is taker_]
        credit, had_suspect = before[taker_.instance_id]
        assert len(mine) == credit - taker_.credit and taker_.credit >= 0
        assert sum(head.suspect for head in mine) <= (0 if had_suspect else 1)
        assert all(head.lane in taker_.lanes for head in mine)
        for capability_head in (head for head in mine if head.lane != "a1"):
            assert taker_.types is None or capability_head.type in taker_.types
            assert not taker_.degraded or capability_head.due_for >= timedelta(seconds=5)
    # Nothing is left lying that somebody with credit left could have taken.
    for left in (head for head in heads if head not in given_heads):
        assert left.lane in result.starved | result.blocked
        alone = assign([left], takers)
        assert alone.given == []


@given(heads=HEADS)
def test_one_session_takes_in_the_documented_order(heads: list[Head]) -> None:
    plain = [Head(h.task_id, "a1", "t", h.rank, h.due_for, False) for h in heads]
    result = assign(plain, [taker(1, credit=10)])
    wanted = sorted(plain, key=lambda h: (-h.rank, -h.due_for, h.task_id))[:10]
    assert [head for head, _ in result.given] == wanted
