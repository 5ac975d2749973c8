"""Panels for the notebooks. Nothing below imports them."""
