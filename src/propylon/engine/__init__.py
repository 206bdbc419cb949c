"""The request path: start reading at `forward.py`."""
