"""The public SDK: write an Agent, or be a Client."""
