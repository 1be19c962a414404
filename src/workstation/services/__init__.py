"""What can be asked: one function is one verb, state and event in one transaction."""
