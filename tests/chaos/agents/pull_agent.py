"""An agent on plain HTTP, which may do everything wrong that an agent of somebody else may do. RECORD: see recorder."""

from __future__ import annotations

import asyncio
import os
import uuid
from pathlib import Path
from typing import Any

import httpx
from tests.chaos.recorder import Recorder

SLOTS = 6
PERSISTENCE_SECONDS = 120.0
record = Recorder(Path(os.environ["RECORD"]), "agent")


class Gone(Exception):
    """The server does not know this instance any more."""


class PullAgent:
    """One instance after the other: it claims, works and reports until it is ended."""

    def __init__(self, client: httpx.AsyncClient, agent_id: str) -> None:
        self._client = client
        self._agent_id = agent_id
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.instance = str(uuid.uuid4())
        self._held: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._freed = asyncio.Event()

    async def run(self) -> None:
        """Serve for ever."""
        while True:
            beating = asyncio.create_task(self._beat())
            try:
                await self._claim_on()
            except Gone:
                record("is dead", instance=self.instance, pid=os.getpid())
            finally:
                beating.cancel()
                for task in self._held.values():
                    task.cancel()
                self._begin_anew()

    def _holding(self) -> list[dict[str, Any]]:
        return [{"task": task, "attempt": attempt} for task, attempt in self._held]

    async def _claim_on(self) -> None:
        while True:
            if len(self._held) >= SLOTS:
                self._freed.clear()
                await self._freed.wait()
                continue
            body = {
                "instance": self.instance,
                "slots": SLOTS - len(self._held),
                "wait_ms": 2000,
                "holding": self._holding(),
            }
            answer = await self._post(f"/api/agents/{self._agent_id}/claim", body)
            if answer is None:
                await asyncio.sleep(0.2)
                continue
            if answer.status_code == 409:
                raise Gone
            for item in answer.json()["data"]["tasks"]:
                self._take(item)

    def _take(self, item: dict[str, Any]) -> None:
        key = (item["id"], item["attempt"])
        about = {"task": int(item["id"]), "attempt": item["attempt"], "instance": self.instance, "pid": os.getpid()}
        record("given", **about)
        if key in self._held:
            return
        self._held[key] = asyncio.create_task(self._work(item, about))
        self._held[key].add_done_callback(lambda _: self._put_down(key))

    def _put_down(self, key: tuple[str, int]) -> None:
        self._held.pop(key, None)
        self._freed.set()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(3)
            body = {"instance": self.instance, "holding": self._holding()}
            answer = await self._post(f"/api/agents/{self._agent_id}/heartbeat", body)
            if answer is not None and answer.status_code == 200:
                for task in answer.json()["data"]["cancel"]:
                    record("told to stop", task=int(task), instance=self.instance, pid=os.getpid())

    async def _work(self, item: dict[str, Any], about: dict[str, Any]) -> None:
        payload = item["payload"]
        behaviour = item["type"] if item["attempt"] <= payload.get("until", 1) else "work"
        seconds = payload.get("seconds", 0.01)
        match behaviour:
            case "fail" | "hopeless":
                error = {"message": "not this time", "retryable": behaviour == "fail", "retry_after_ms": 100}
                await self._report("fail", about, {"error": error})
            case "release":
                await self._report("release", about, {})
            case "silent":
                await asyncio.sleep(item["timeout_ms"] / 1000 + 1)
            case "late":
                # Past its timeout, when the next attempt is likely under way.
                await asyncio.sleep(item["timeout_ms"] / 1000 + 1.6)
                await self._complete(about)
            case "forge":
                # Another instance cannot settle what this one holds, even when it knows the attempt.
                await self._complete({**about, "instance": str(uuid.uuid4())}, persistent=False)
                await asyncio.sleep(0.3)
                await self._complete(about)
            case "twice":
                await self._complete(about)
                await self._complete(about)
            case _:
                # The next attempt after a late one takes its time, so that the late report finds it at work.
                await asyncio.sleep(1.0 if item["type"] == "late" else seconds)
                await self._complete(about)

    async def _complete(self, about: dict[str, Any], *, persistent: bool = True) -> None:
        said = str(uuid.uuid4())
        record("reports", **about, said=said)
        await self._report("complete", about, {"result": {"said": said}}, persistent=persistent)

    async def _report(self, verb: str, about: dict[str, Any], more: dict[str, Any], *, persistent: bool = True) -> None:
        body = {"instance": about["instance"], "attempt": about["attempt"], **more}
        kind = {"complete": "done"}.get(verb, verb)
        waited = 0.0
        while waited < PERSISTENCE_SECONDS:
            answer = await self._post(f"/api/agents/tasks/{about['task']}/{verb}", body)
            if answer is not None:
                good = answer.status_code == 200
                status = answer.json()["data"]["status"] if good else None
                code = None if good else answer.json()["code"]
                record("told", **about, kind=kind, status=status, code=code)
                return
            if not persistent:
                return
            await asyncio.sleep(0.2)
            waited += 0.2

    async def _post(self, path: str, body: dict[str, Any]) -> httpx.Response | None:
        """The answer, or None where the outcome is unknown or the server is not able now."""
        try:
            answer = await self._client.post(path, json=body)
        except (httpx.TransportError, httpx.InvalidURL):
            return None
        if answer.status_code in (200, 409):
            return answer
        record("refused", path=path, status=answer.status_code, text=answer.text[:300], pid=os.getpid())
        return None


async def main() -> None:
    """Serve as the environment says."""
    headers = {"Authorization": f"Bearer {os.environ['WORKSTATION_TOKEN']}"}
    async with httpx.AsyncClient(base_url=os.environ["WORKSTATION_URL"], headers=headers, timeout=6) as client:
        await PullAgent(client, os.environ["WORKSTATION_AGENT_ID"]).run()


if __name__ == "__main__":
    asyncio.run(main())
