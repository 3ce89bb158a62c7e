"""A container registry with its token service and its CDN, in this process, scriptable and observed.

Nothing here imports the mirror: the fakes are what it is judged against.
"""
