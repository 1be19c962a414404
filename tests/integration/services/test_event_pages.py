"""Events are read page by page in the order of their transactions."""

from tests.support.spine import Spine, new

from workstation.services import events

COUNT = 40


async def test_pages_are_in_order_when_the_number_of_a_transaction_gets_another_digit(spine: Spine) -> None:
    agent = await spine.agent()
    current = int(await spine.value("select pg_current_xact_id()::text"))
    wanted = 10 ** len(str(current)) - COUNT // 2
    if current < wanted:
        await _use_up(spine, wanted - current)
    after = events.START
    for _ in range(COUNT):
        await spine.submit(new(agent))
    heard = []
    while page := await events.list_events(spine.database, after, type_filter=None, limit=7):
        heard += [(row.cursor.tx, row.cursor.id) for row in page]
        after = page[-1].cursor
    written = await spine.fetch("select tx::text::numeric as tx, id from events order by 1, 2")
    assert heard == [(int(row["tx"]), row["id"]) for row in written]
    assert len({len(str(tx)) for tx, _ in heard}) == 2, "no number got another digit"


async def _use_up(spine: Spine, transactions: int) -> None:
    """Each block with an exception handler that writes takes a number of its own."""
    await spine.execute(
        "do $$ begin create temporary table if not exists used_up (n int); "
        f"for i in 1..{transactions} loop "
        "begin insert into used_up values (1); exception when division_by_zero then null; end; end loop; end $$"
    )
