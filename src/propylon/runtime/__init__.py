"""Running the gateway: the worker that serves, from its first listener to its last answer."""
