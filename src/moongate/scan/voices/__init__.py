"""Other scanners, heard beside our own. A voice may add suspicion and never takes any away.

Each runs in a jail of its own (`jail.Jail` with the voice's name), with the same bounds; one that hangs or
dies is a note in the report and changes no verdict. `choir.Choir` is asked like a jail and asks them all.
"""
