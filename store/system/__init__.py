"""What the operating system gives: the disk behind one door, locks, stats, folders held open, paths."""
