"""Orders to agents, and what their instances make of them."""

from uuid import UUID, uuid4

import pytest
from tests.support.spine import Spine, new

from workstation.domain.errors import Conflict, LeaseLost, NotFound
from workstation.domain.principal import Principal, Role
from workstation.domain.tasks import OutcomeKind
from workstation.services import agents, instances
from workstation.services.instances import Hello
from workstation.store.agents import AgentFields, HealthReport

ADMIN = Principal("root", Role.ADMIN)
RUN = '{"command": ["true"]}'


async def status(spine: Spine, agent: int) -> str:
    return str(await spine.value("select status from agent_registry where id = $1", agent))


async def goodbye(spine: Spine, instance: UUID) -> None:
    async with spine.database.session() as connection:
        await instances.goodbye(connection, [instance], "said goodbye")


async def hello(spine: Spine, agent: int, instance: UUID, **fields: object) -> list:
    async with spine.database.session() as connection:
        return await instances.hello(connection, Hello(instance, agent, 10, **fields))  # type: ignore[arg-type]


# -- agents that are started elsewhere ------------------------------------------------------------------------------


async def test_an_external_agent_runs_while_an_instance_lives(spine: Spine) -> None:
    agent = await spine.agent(status="stopped")
    first, second = await spine.instance(agent), await spine.instance(agent)
    assert await status(spine, agent) == "running"
    await goodbye(spine, first)
    assert await status(spine, agent) == "running"
    await goodbye(spine, second)
    assert await status(spine, agent) == "stopped"


async def test_an_external_agent_that_is_stopped_is_stopped_when_its_last_instance_is_gone(spine: Spine) -> None:
    agent = await spine.agent(status="stopped")
    first, second = await spine.instance(agent), await spine.instance(agent)
    order = await agents.stop(spine.database, agent, ADMIN)
    assert order.status == "stopping"
    await goodbye(spine, first)
    assert await status(spine, agent) == "stopping"
    await goodbye(spine, second)
    assert await status(spine, agent) == "stopped"


async def test_an_external_agent_without_instances_stops_at_once(spine: Spine) -> None:
    agent = await spine.agent(status="running")
    assert (await agents.stop(spine.database, agent, ADMIN)).status == "stopped"


async def test_an_external_agent_that_is_wanted_again_before_it_was_gone_runs(spine: Spine) -> None:
    agent = await spine.agent(status="stopped")
    await spine.instance(agent)
    await agents.stop(spine.database, agent, ADMIN)
    assert (await agents.start(spine.database, agent, ADMIN)).status == "running"


async def test_a_lapse_stops_an_external_agent(spine: Spine) -> None:
    agent = await spine.agent(status="stopped")
    instance = await spine.instance(agent)
    await spine.kill(instance)
    async with spine.database.session() as connection:
        assert await instances.reap_lapsed(connection, 10) == [instance]
    assert await status(spine, agent) == "stopped"


async def test_an_external_agent_cannot_be_restarted_from_here(spine: Spine) -> None:
    agent = await spine.agent()
    with pytest.raises(Conflict):
        await agents.restart(spine.database, agent, ADMIN)
    assert await spine.value("select generation from agent_registry where id = $1", agent) == 0


# -- hello ----------------------------------------------------------------------------------------------------------


async def test_a_stopped_agent_lets_no_new_instance_in(spine: Spine) -> None:
    agent = await spine.agent(desired_status="stopped", status="stopped")
    with pytest.raises(Conflict):
        await spine.instance(agent)
    assert await spine.value("select count(*) from agent_instances") == 0


async def test_an_unknown_or_removed_agent_lets_nobody_in(spine: Spine) -> None:
    with pytest.raises(NotFound):
        await spine.instance(77)
    agent = await spine.agent(desired_status="stopped", status="stopped")
    await agents.remove(spine.database, agent, ADMIN)
    with pytest.raises(NotFound):
        await spine.instance(agent)


async def test_an_instance_belongs_to_one_agent_for_ever(spine: Spine) -> None:
    mine, other = await spine.agent(), await spine.agent()
    instance = await spine.instance(mine)
    with pytest.raises(LeaseLost):
        await hello(spine, other, instance)


@pytest.mark.parametrize("end", ["dead", "ended"])
async def test_a_dead_instance_never_comes_back(spine: Spine, end: str) -> None:
    agent = await spine.agent()
    instance = await spine.instance(agent)
    await spine.execute("update agent_instances set status = $1, ended_at = now()", end)
    with pytest.raises(LeaseLost):
        await hello(spine, agent, instance)


async def test_an_instance_that_comes_back_in_time_finds_what_it_held(spine: Spine) -> None:
    agent = await spine.agent()
    instance = await spine.instance(agent)
    await spine.submit(new(agent))
    (claim,) = await spine.claim(instance)
    await spine.execute("update agent_instances set lease_expires_at = now() + interval '1 second'")
    (again,) = await hello(spine, agent, instance)
    assert (again.task_id, again.attempt) == (claim.task_id, claim.attempt)
    left = await spine.value("select extract(epoch from lease_expires_at - now()) from agent_instances")
    assert 10 < left <= 15


async def test_an_instance_that_was_draining_and_comes_back_takes_work_again(spine: Spine) -> None:
    """A server that restarts lets everybody drain; who stays and comes back is as good as new."""
    agent = await spine.agent()
    instance = await spine.instance(agent)
    async with spine.database.session() as connection:
        await instances.drain(connection, [instance])
    await spine.submit(new(agent))
    assert await spine.claim(instance) == []
    await hello(spine, agent, instance)
    assert len(await spine.claim(instance)) == 1


async def test_an_instance_of_a_stopped_agent_that_comes_back_stays_draining(spine: Spine) -> None:
    agent = await spine.agent()
    instance = await spine.instance(agent)
    async with spine.database.session() as connection:
        await instances.drain(connection, [instance])
    await agents.stop(spine.database, agent, ADMIN)
    await hello(spine, agent, instance)
    assert await spine.value("select status from agent_instances") == "draining"


async def test_hello_keeps_what_the_agent_says_of_itself(spine: Spine) -> None:
    agent = await spine.agent(capabilities=["a"])
    await hello(spine, agent, uuid4(), task_types='{"t": null}', capabilities=("b", "a"), health_interval_ms=700)
    (row,) = await spine.fetch("select * from agent_registry")
    assert (row["capabilities"], row["task_types"], row["health_interval_ms"]) == (["a", "b"], '{"t": null}', 700)
    await hello(spine, agent, uuid4())
    (row,) = await spine.fetch("select * from agent_registry")
    assert (row["capabilities"], row["task_types"], row["health_interval_ms"]) == (["a", "b"], '{"t": null}', 700)


async def test_the_first_hello_of_a_launch_makes_its_agent_running_and_is_told(spine: Spine) -> None:
    agent = await spine.agent(spec=RUN, status="starting")
    launch = uuid4()
    await spine.execute("insert into agent_launches (id, agent_id, driver) values ($1, $2, 'fake')", launch, agent)
    await hello(spine, agent, uuid4(), launch_id=launch)
    assert await status(spine, agent) == "running"
    (row,) = await spine.fetch("select status, ready_at from agent_launches")
    assert row["status"] == "running" and row["ready_at"] is not None
    assert await spine.value("select count(*) from events where type = 'agent.started'") == 1
    await hello(spine, agent, uuid4(), launch_id=launch)
    assert await spine.value("select count(*) from events where type = 'agent.started'") == 1


async def test_a_hello_of_another_launch_or_of_none_does_not_make_a_started_agent_running(spine: Spine) -> None:
    agent = await spine.agent(spec=RUN, status="starting")
    await hello(spine, agent, uuid4(), launch_id=uuid4())
    await hello(spine, agent, uuid4())
    assert await status(spine, agent) == "starting"


# -- leases ---------------------------------------------------------------------------------------------------------


async def test_renewing_tells_who_is_still_alive(spine: Spine) -> None:
    agent = await spine.agent()
    alive, dead = await spine.instance(agent), await spine.instance(agent)
    await spine.execute("update agent_instances set status = 'dead', ended_at = now() where id = $1", dead)
    async with spine.database.session() as connection:
        assert await instances.renew(connection, [alive, dead, uuid4()]) == {alive: (None, False)}


async def test_a_closed_socket_shortens_a_lease_and_never_lengthens_it(spine: Spine) -> None:
    agent = await spine.agent()
    long, short = await spine.instance(agent), await spine.instance(agent)
    await spine.execute("update agent_instances set lease_expires_at = now() + interval '1 s' where id = $1", short)
    async with spine.database.session() as connection:
        await instances.disconnected(connection, [long, short], None)
    rows = await spine.fetch("select id, extract(epoch from lease_expires_at - now()) as left from agent_instances")
    left = {row["id"]: float(row["left"]) for row in rows}
    assert 1 < left[long] <= 3 and left[short] <= 1


async def test_a_lease_from_a_clock_that_was_ahead_is_cut(spine: Spine) -> None:
    agent = await spine.agent()
    await spine.instance(agent)
    await spine.execute("update agent_instances set lease_expires_at = now() + interval '1 hour'")
    async with spine.database.session() as connection:
        assert await instances.reap_lapsed(connection, 10) == []
    left = await spine.value("select extract(epoch from lease_expires_at - now()) from agent_instances")
    assert 0 < left <= 15


async def test_a_lapsed_instance_is_reaped_once_and_told(spine: Spine) -> None:
    agent = await spine.agent()
    instance = await spine.instance(agent)
    await spine.kill(instance)
    async with spine.database.session() as connection:
        assert await instances.reap_lapsed(connection, 10) == [instance]
        assert await instances.reap_lapsed(connection, 10) == []
    assert await spine.value("select count(*) from events where type = 'instance.lost'") == 1


# -- orders ---------------------------------------------------------------------------------------------------------


async def test_every_order_counts(spine: Spine) -> None:
    agent = await spine.agent(spec=RUN, status="stopped", desired_status="stopped")
    assert (await agents.start(spine.database, agent, ADMIN)).status == "starting"
    order = await agents.stop(spine.database, agent, ADMIN, force=True)
    assert (order.status, order.generation) == ("stopping", 2)
    order = await agents.restart(spine.database, agent, ADMIN)
    assert (order.status, order.generation, order.runtime) == ("starting", 3, "process")
    with pytest.raises(NotFound):
        await agents.start(spine.database, 77, ADMIN)


async def test_stopping_an_agent_in_error_is_told_as_stopped(spine: Spine) -> None:
    agent = await spine.agent(spec=RUN, status="error")
    assert (await agents.stop(spine.database, agent, ADMIN)).status == "stopped"
    assert await spine.value("select count(*) from events where type = 'agent.stopped'") == 1


async def test_an_agent_with_open_tasks_is_not_removed(spine: Spine) -> None:
    agent = await spine.agent(status="stopped", desired_status="stopped")
    await spine.submit(new(agent))
    with pytest.raises(Conflict, match="not final"):
        await agents.remove(spine.database, agent, ADMIN)
    await spine.execute("update agent_tasks set status = 'cancelled', completed_at = now()")
    await agents.remove(spine.database, agent, ADMIN)
    with pytest.raises(NotFound):
        await agents.get_agent(spine.database, agent)


async def test_a_running_agent_is_not_removed(spine: Spine) -> None:
    agent = await spine.agent()
    with pytest.raises(Conflict, match="stop it"):
        await agents.remove(spine.database, agent, ADMIN)


async def test_a_name_is_free_again_when_its_agent_was_removed(spine: Spine) -> None:
    fields = AgentFields(name="twin", type="custom")
    first = await agents.register(spine.database, fields, ADMIN)
    with pytest.raises(Conflict):
        await agents.register(spine.database, fields, ADMIN)
    other = await agents.register(spine.database, AgentFields(name="other", type="custom"), ADMIN)
    with pytest.raises(Conflict):
        await agents.update(spine.database, other["id"], AgentFields(name="twin"), ADMIN)
    await agents.remove(spine.database, first["id"], ADMIN)
    await agents.register(spine.database, fields, ADMIN)


# -- health ---------------------------------------------------------------------------------------------------------


async def report(spine: Spine, *reports: HealthReport) -> set[int]:
    async with spine.database.session() as connection:
        return await agents.report_health(connection, reports)


async def test_a_change_of_health_is_told_once_and_counts_from_its_first_report(spine: Spine) -> None:
    agent = await spine.agent()
    assert await report(spine, HealthReport(agent, "unhealthy"), HealthReport(77, "healthy")) == {agent}
    since = await spine.value("select unhealthy_since from agent_registry")
    assert since is not None
    await report(spine, HealthReport(agent, "unhealthy", '{"cpu": 1}'))
    (row,) = await spine.fetch("select unhealthy_since, health_metadata from agent_registry")
    assert (row["unhealthy_since"], row["health_metadata"]) == (since, '{"cpu": 1}')
    assert await spine.value("select count(*) from events where type = 'health.changed'") == 1
    await report(spine, HealthReport(agent, "healthy"))
    (row,) = await spine.fetch("select unhealthy_since, health_status from agent_registry")
    assert (row["unhealthy_since"], row["health_status"]) == (None, "healthy")


async def test_the_last_report_of_a_batch_counts(spine: Spine) -> None:
    agent = await spine.agent()
    await report(spine, HealthReport(agent, "unhealthy"), HealthReport(agent, "healthy"))
    assert await spine.value("select health_status from agent_registry") == "healthy"


async def test_a_lost_task_of_a_removed_instance_row_is_still_found(spine: Spine) -> None:
    agent = await spine.agent()
    (number,) = await spine.submit(new(agent))
    instance = await spine.instance(agent)
    (claim,) = await spine.claim(instance)
    await spine.execute("delete from agent_instances")
    await spine.settle(claim, OutcomeKind.LOST)
    assert (await spine.task(number))["status"] == "pending"
