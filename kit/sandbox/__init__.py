"""A real SMTP server on loopback to practise on: it never relays.

scenarios.toml, replies.toml ──► scenarios · replay ──► House ◄── authority
                                                          │
client ◄──► wire ◄──► session ──► auth (signin) · mail ──► record: transcript, attempts, messages
                         └──────► faults
"""
