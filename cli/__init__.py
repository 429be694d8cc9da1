"""The command `aq`: parse, one call of the library, render."""
