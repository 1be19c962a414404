"""Who gets which task when: agent sessions, their credit, group commit and wake-ups."""
