"""Deaths of the process, of the disk and of the power, at every step of what the mirror does to its files."""
