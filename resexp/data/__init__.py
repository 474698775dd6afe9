"""What the nets see."""
