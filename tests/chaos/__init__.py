"""The fault suite: a seeded load on real processes, a nemesis that breaks them, and a checker of every promise."""
