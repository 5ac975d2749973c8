"""What the kit knows, as data: patterns, meanings, sources, dates."""
