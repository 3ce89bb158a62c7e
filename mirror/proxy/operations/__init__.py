"""What operators do with the cache: name images, look at them, pin and purge them."""
