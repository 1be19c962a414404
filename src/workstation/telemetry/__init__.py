"""The clocks of this machine: their one home."""
