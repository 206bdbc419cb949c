"""Whole gateways: Python programs and files, real sockets on both sides."""
