"""Names, digests, spans, records and errors: the words every other room speaks. Pure values, no I/O."""
