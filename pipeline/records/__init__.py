"""Records that verbs return, for Python, JSON and text alike; they know nothing but each other."""
