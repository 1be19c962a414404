"""What a claim costs as the tables grow: backlogs, tasks not yet due, history, churn, and retention at work."""
