"""Bricks that several models share; each cites its own source and is tested alone."""
