"""The benchmark: Propylon beside its peers, one command, one table, every ratio from one run."""
