"""What a mirror's memory of images is worth, and how many clients one machine, or ten, can serve."""
