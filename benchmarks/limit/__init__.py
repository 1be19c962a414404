"""The raw PostgreSQL limit: insert, claim and complete with nothing around them."""
