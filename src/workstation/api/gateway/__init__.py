"""The agents' door: the WebSocket protocol, and the same verbs as plain HTTP."""
