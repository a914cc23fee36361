"""Planning problems in PDDL: goals, plans, and what can still be reached."""
