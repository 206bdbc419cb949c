"""From a checked configuration to the snapshot that exchanges run on. It may know everything below the runtime."""
