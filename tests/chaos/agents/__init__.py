"""Agents as programs: they do with each task what its payload says, and record what they were given and told."""
