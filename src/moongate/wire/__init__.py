"""The Hub's words: addresses, headers, listings, errors, ranges, LFS. Pure codecs, values in and values out.

Where a thing is both read (from upstream) and written (to our clients), both directions stand in one file
and, where possible, in one table. Nothing here opens a socket or a file, or asks what time it is.
"""
