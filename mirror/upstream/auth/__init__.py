"""Who the mirror is to a registry: challenges, tokens, and credentials wherever they are kept."""
