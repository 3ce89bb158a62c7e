"""What is shipped around the code, tried with the tools of those who will use it."""
