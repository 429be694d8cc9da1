"""What bytes mean: identity, canonical encodings, chunking, tables, models, records; pure functions."""
