"""`mirror warm`: images into the cache, by way of the running mirror; from names, and from files that name them."""
