"""Figures (matplotlib) from records."""
