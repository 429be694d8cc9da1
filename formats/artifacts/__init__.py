"""What an artifact is: how a value is stored and read, collections, documents, metrics, JSON."""
