"""Endpoints that die, hang, slow down and fail under constant load, while no client may notice."""
