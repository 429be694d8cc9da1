"""Frames of pandas and polars as columns and back, exactly; cells that Arrow has no type for."""
