"""At rest: the only users of files, diskcache and aiocache."""
