"""How services choose among their endpoints."""
