"""Models of other libraries: their values natively, their files read without executing anything."""
