"""TensorBoard: a run as it goes, and after."""
