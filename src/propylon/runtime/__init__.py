"""Running the gateway: core, worker, listeners, reloads and the process."""
