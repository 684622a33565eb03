"""Measuring: scores, and whether confidences are probabilities."""
