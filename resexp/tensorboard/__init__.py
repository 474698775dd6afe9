"""TensorBoard: a run while it goes, and afterwards."""
