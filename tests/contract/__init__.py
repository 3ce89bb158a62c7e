"""What keeps the fakes honest: one suite for the fake and a real registry, and a test of each fault."""
