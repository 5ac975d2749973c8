"""What can be learned about a server, from the name to the sign-in."""
