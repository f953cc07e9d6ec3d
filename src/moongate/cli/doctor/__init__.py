"""`moongate doctor`: looks at everything a gateway and its clients need, and says what to do.

    finding     what one check found, and what the user can do about it
    upstream    is it there, is it the Hub, do our clocks agree, is our token good
    machine     home, disk, port, door
    clients     variables that change what Hub clients do, and which clients are here
    command     the command itself

Checks never change anything and each has a time limit.
"""

from __future__ import annotations

from moongate.cli.doctor.command import register

__all__ = ["register"]
