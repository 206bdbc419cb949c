"""Connections from clients: listeners, and the PROXY protocol preface in front of a connection."""
