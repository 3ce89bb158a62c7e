"""Figures that the mirror promises, measured with real processes on loopback."""
