"""The SMTP dialogue, its two drivers, and the test message."""
