"""Pages: values in, HTML out. Self-contained (no script needed, nothing fetched from elsewhere), escaped."""
