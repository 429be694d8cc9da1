"""Prolly trees: ordered maps and lists whose nodes are chosen by content."""
