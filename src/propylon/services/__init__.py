"""Services and their endpoints: balancing, health, circuit breakers, limits and discovery."""
