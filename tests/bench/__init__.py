"""The benchmark: how it reads what it measured, and how it judges it."""
