"""Data: what the nets see."""
