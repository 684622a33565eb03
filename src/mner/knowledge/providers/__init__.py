"""Providers of knowledge, one file a source; `mner.knowledge.registry` knows them by name."""
