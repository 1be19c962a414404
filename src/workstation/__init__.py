"""An orchestrator for a fleet of AI agents and MCP servers."""
