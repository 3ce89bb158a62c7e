"""What becomes of a pull when its upstream is in trouble: places in trouble, and the mirrors that look at them."""
