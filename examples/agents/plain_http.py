"""An agent without the SDK and without a socket: plain HTTP from Python's standard library, as any language has it.

    WORKSTATION_URL=… WORKSTATION_TOKEN=… python plain_http.py AGENT_ID

It turns texts round: a task of type "reverse" with {"text": "…"} results in {"reversed": "…"}.
"""

import json
import os
import sys
import threading
import time
import urllib.error
import urllib.request

URL = os.environ.get("WORKSTATION_URL", "http://127.0.0.1:3000")
TOKEN = os.environ["WORKSTATION_TOKEN"]
WAIT_MS = 20_000


class LeaseLost(Exception):
    """The attempt, or the whole instance, is no longer ours: drop the work."""


def post(path: str, body: dict) -> dict:
    """One call; returns `data`. Raises LeaseLost, and HTTPError for any other refusal."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    request = urllib.request.Request(URL + path, json.dumps(body).encode(), headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=WAIT_MS / 1000 + 10) as answer:
            return json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        if error.code == 409 and json.load(error)["code"] == "lease_lost":
            raise LeaseLost from error
        raise


class Instance:
    """One start of this agent: it holds the attempts, and its heartbeat keeps them."""

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self.name: str | None = None
        self.holding: list[dict] = []
        self.cancelled: set[str] = set()

    def claim(self) -> list[dict]:
        """Ask for one task and wait for it."""
        body: dict = {"slots": 1, "wait_ms": WAIT_MS, "holding": self.holding}
        if self.name is not None:
            body["instance"] = self.name
        answer = post(f"/api/agents/{self.agent_id}/claim", body)
        self.name = answer["instance"]
        return answer["tasks"]

    def beat(self) -> None:
        """Say that we live, and hear what to stop."""
        body = {"instance": self.name, "healthStatus": "healthy", "holding": self.holding}
        self.cancelled.update(post(f"/api/agents/{self.agent_id}/heartbeat", body)["cancel"])

    def work_on(self, task: dict) -> None:
        """Do one task and report it."""
        path = f"/api/agents/tasks/{task['id']}"
        attempt = {"instance": self.name, "attempt": task["attempt"]}
        self.holding = [{"task": task["id"], "attempt": task["attempt"]}]
        try:
            if task["type"] != "reverse" or not isinstance(task["payload"].get("text"), str):
                error = {"type": "unknown_type", "message": "I only reverse a text.", "retryable": False}
                post(f"{path}/fail", {**attempt, "error": error})
                return
            text = task["payload"]["text"]
            for half in (1, 2):
                time.sleep(task["payload"].get("seconds", 0) / 2)
                post(f"{path}/progress", {**attempt, "percent": half * 50, "message": "reversing"})
                if task["id"] in self.cancelled:
                    return
            post(f"{path}/complete", {**attempt, "result": {"reversed": text[::-1]}})
        finally:
            self.holding = []


def keep_beating(instance: Instance) -> None:
    """Heartbeats beside the work: every 5 s, three to a lease."""
    while True:
        time.sleep(5)
        try:
            if instance.name is not None:
                instance.beat()
        except (OSError, LeaseLost) as error:
            print(f"heartbeat: {error!r}", file=sys.stderr)


def main(agent_id: str) -> None:
    """Claim and work until killed; a dead instance starts anew under another name."""
    instance = Instance(agent_id)
    threading.Thread(target=keep_beating, args=(instance,), daemon=True).start()
    while True:
        try:
            for task in instance.claim():
                instance.work_on(task)
        except LeaseLost:
            instance.name = None
        except OSError as error:
            print(f"the server does not answer: {error}", file=sys.stderr)
            time.sleep(1)


if __name__ == "__main__":
    main(sys.argv[1])
