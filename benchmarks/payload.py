"""The one payload every participant carries. Standard library only: the peers' own environments import it."""

import json

PAYLOAD_BYTES = 200


def payload(number: int) -> dict[str, object]:
    """A task payload `{"n": number, "pad": "xx…"}` that is exactly PAYLOAD_BYTES long as compact JSON."""
    bare = len(json.dumps({"n": number, "pad": ""}, separators=(",", ":")))
    return {"n": number, "pad": "x" * (PAYLOAD_BYTES - bare)}
