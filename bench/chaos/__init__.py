"""The chaos run: WebSockets, event streams, downloads and uploads whose peers die, vanish, freeze and lie.

Every stream has a token, and both of its sides write down how it ended; the ledger knows how it must.
"""
