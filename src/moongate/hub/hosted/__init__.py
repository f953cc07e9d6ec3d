"""Hosted repositories: a company's own models, datasets and Spaces, which live here and nowhere else.

Nothing of them is ever asked of upstream or told to it: no name, no token, no byte.

    rules         the times and limits everything here obeys
    places        which namespaces and repositories live here, and who may do what with them
    objects       git's commits, trees and tags, read and parsed
    trees         a tree with some entries changed, as new git objects
    refs          which commit a revision is; branches, tags and pull requests
    commits       a change becomes a commit
    uploads       content that was brought and is not yet in a commit
    listings      which files a commit has, and what is said of them
    repositories  create, delete, move, duplicate, settings
    discussions   pull requests and the talk about them
    repos         the front of the room

Everything but the front is synchronous, may be called from any thread, and belongs in one.
"""
