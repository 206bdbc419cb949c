"""What `propylon demo` runs: three small services, a configuration and two policies in front of them."""
