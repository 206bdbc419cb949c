"""What connections to clients and to endpoints share above asyncio's transports: what is unsent, and byte streams."""
