"""`mirror check`: what is tried, how it is told, and what to do about what fails."""
