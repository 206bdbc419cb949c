"""What stands behind a route: services and their endpoints."""
