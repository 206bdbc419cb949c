"""TLS with endpoints: certificates and names are verified by default.

Rules of the file:

- TLS 1.2 is the minimum version (RFC 8996); ALPN offers http/1.1 only, the one protocol supported outbound.
- A `ca` replaces the system's CAs: an endpoint with a private CA is verified with that CA only.
- All errors of a file are detected when the configuration is loaded, and the message names the file.
"""

import ssl

from propylon.tls import ALPN, TlsError, load_identity, read


def client_context(verify: bool, ca: str | None, certificate: str | None, key: str | None) -> ssl.SSLContext:
    """Return the context for connections to the endpoints of one service.

    Parameters:
        verify: False disables verification of certificate and name.
        ca: PEM file with the trusted CAs, instead of the system's.
        certificate: PEM file with the gateway's own certificate chain, for services that request one.
        key: PEM file with its private key, unencrypted; None if it is in the certificate file.

    Raises `TlsError`.
    """
    if not verify and ca is not None:
        raise TlsError(f"ca {ca!r} has no effect with verify: false: remove one of the two")
    if key is not None and certificate is None:
        raise TlsError(f"key {key!r} has no certificate: add certificate: with the PEM file it belongs to")
    if ca is not None:
        read(ca, "ca")
    try:
        context = ssl.create_default_context(cafile=ca)
    except ssl.SSLError:
        raise TlsError(f"ca {ca!r} has no certificate in PEM form (-----BEGIN CERTIFICATE-----)") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(ALPN)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate is not None:
        load_identity(context, certificate, key)
    return context
