"""REST and the agent gateway: what can be asked over the network, and by whom."""
