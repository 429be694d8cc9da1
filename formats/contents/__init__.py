"""Runs of bytes as chunks: cut, stored beside an earlier version, read back; folders as one stream."""
