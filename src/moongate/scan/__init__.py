"""Whether content is safe to load: bytes or ranges in, findings and a verdict out. Nothing is ever executed.

`engine.judge` looks at one content and everything inside it; `jail.Jail` runs it in a process of its own, so
that a hang or a crash is a verdict (`failed`) and never an outage. What findings mean is told by
`rules`.
"""
