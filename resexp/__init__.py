"""Why do skip connections make very deep networks trainable? An experiment runner."""

__version__ = "0.1.0"
