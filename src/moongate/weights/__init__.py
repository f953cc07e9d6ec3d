"""What a weight file says about itself, read from its header: values in, values out.

A reader is a generator: it yields the spans of the file that it wants, is sent their bytes, and returns the
facts (see `reading`). Whoever has the bytes does the reading, so the same readers serve the store, a span of
a file upstream, and a test.
"""
