"""What can go wrong with the embedded PostgreSQL."""


class PostgresFailure(Exception):
    """The embedded PostgreSQL cannot be had: one sentence that says what is wrong and what to do."""
