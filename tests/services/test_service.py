"""A service chooses among its endpoints by their health, and learns from how they did."""
