"""The shapes on the wire, one file for each noun."""
