"""TLS towards clients: one certificate a listener, TLS 1.2 and newer (RFC 8996), HTTP/1.1 by ALPN."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from propylon.tls import ALPN, load_identity

if TYPE_CHECKING:
    from pathlib import Path

HANDSHAKE_SECONDS = 10.0  # as long as a request's head may take


def server_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """Return the context of a listener.

    Parameters:
        certificate: PEM file with the certificate and its chain.
        key: PEM file with its private key, unencrypted; None if the certificate file has it too.

    Raises `TlsError`, with a sentence that names the file.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(ALPN)
    load_identity(context, str(certificate), None if key is None else str(key))
    return context
