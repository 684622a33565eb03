"""What pictures and lexicons say as text or regions, and the store that keeps it."""
