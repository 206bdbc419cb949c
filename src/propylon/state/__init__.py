"""Stores for state of policies across exchanges: counters, responses, sessions."""
