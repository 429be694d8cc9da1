"""Running flows: what is to be run, in which order, by whose hands, and publishing what came of it."""
