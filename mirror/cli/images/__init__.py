"""`mirror ls`, `show`, `pin`, `unpin` and `purge`: what is cached, by way of the admin API of the running mirror."""
