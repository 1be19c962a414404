"""What `workstation doctor` checks: the machine, and the fleet behind the API."""
