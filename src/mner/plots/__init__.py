"""Pictures of results and of what models attend to; matplotlib is imported where it is used."""
