"""`mirror setup`: what each client has to be told, rendered without any I/O, and put where it reads it."""
