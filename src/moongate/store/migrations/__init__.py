"""How the index's tables came to be, step by step (Alembic). Run from code when an index opens."""
