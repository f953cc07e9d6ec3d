"""Bytes and facts at rest: partial and sealed files on disk, an SQL index of what is known, and their upkeep.

Files are the truth about bytes, the index about everything else; `keeping` brings the two together again.
"""
