"""The table of routes, one file for each noun."""
