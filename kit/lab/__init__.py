"""What `kit lab` starts: the launcher and the Jupyter configuration."""
