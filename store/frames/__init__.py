"""Where objects lie: frames in packs and the journal, the index that finds them, in and out."""
