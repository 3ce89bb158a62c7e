"""The words: the grammar of the OCI distribution and image specs. Pure, no I/O."""
