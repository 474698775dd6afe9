"""Models: plain and residual nets."""
