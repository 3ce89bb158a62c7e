"""What `app` builds the mirror from: each module makes one part of it from the configuration."""
