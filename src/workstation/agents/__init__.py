"""Built-in agents, one file each, written on the public SDK alone."""
