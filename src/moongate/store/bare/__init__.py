"""Bare git repositories made from the index, for git itself to serve from and to check pushes in.

    programs    git as a program: its limits, its environment, its ends
    folder      one bare repository on disk
    packing     objects as a pack, which git takes in
    syncing     brings a folder up to what the index says
    quarantine  a push's objects beside a folder, until they are judged
    sweeping    the folders of repositories that are gone go

What lies here is derived. It may vanish at any time and is made anew; nothing reads it to learn what is true.
"""
