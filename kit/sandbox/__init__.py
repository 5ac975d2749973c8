"""A real SMTP server on loopback to practise on: it never relays."""
