"""Code above asyncio's transports common to connections of clients and endpoints: flow control, byte streams."""
