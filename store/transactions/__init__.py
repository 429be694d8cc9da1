"""One shape of change: publishing, what it relies on, following the journal, making the index again."""
