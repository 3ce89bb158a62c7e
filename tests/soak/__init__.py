"""Random traffic through real mirrors under random trouble; what happened is written down and judged afterwards."""
