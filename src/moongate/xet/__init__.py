"""Xet's formats as pure codecs: chunks, hashes, xorbs, shards, reconstructions. Bytes in, values out.

Source: the Xet specification 1.1.0, and what the official client was seen to write.
"""
