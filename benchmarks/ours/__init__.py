"""Workstation as a participant, through its public face only."""
