"""The commands of `kit …`, a file for those that belong together. `kit.cli` loads each when it is called."""
