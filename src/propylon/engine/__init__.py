"""The way of a request: `forward.py` is the heart; start reading there."""
