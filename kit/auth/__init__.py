"""Signing in: SASL mechanisms without I/O, the vault, the budget of attempts."""
