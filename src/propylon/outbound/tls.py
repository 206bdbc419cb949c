"""TLS towards endpoints: certificates are verified and names are checked unless the operator says otherwise.

Rules of the file:

- TLS 1.2 is the oldest version (RFC 8996); ALPN offers http/1.1 only, the one protocol spoken outbound.
- A `ca` replaces the system's certificates: an endpoint with a private CA is to be vouched for by that CA alone.
- Everything that can be wrong with a file is found when the configuration is loaded, and the message names the file.
"""

import ssl

from propylon.tls import ALPN, TlsError, load_identity, read


def client_context(verify: bool, ca: str | None, certificate: str | None, key: str | None) -> ssl.SSLContext:
    """Return the context for connections to the endpoints of one service.

    Parameters:
        verify: False turns off the check of certificate and name: whoever answers is believed.
        ca: PEM file with the certificates to believe, instead of the system's.
        certificate: PEM file with the gateway's own certificate chain, for services that ask for one.
        key: PEM file with its private key, unencrypted; None if the certificate file has it too.

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
