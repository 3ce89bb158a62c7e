"""Who asks: wrk for what is small, a reader that keeps nothing for blobs, an image's pull, Skopeo."""
