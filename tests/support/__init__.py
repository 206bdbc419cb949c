"""What the conformance, end-to-end and fuzz tests share: a scripted upstream, a raw client, an independent oracle."""
