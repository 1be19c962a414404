"""REST and the agent gateway: the table of routes, one file for each noun."""
