"""From a source to its leading triplets; and matrices in parts, which solve themselves."""
