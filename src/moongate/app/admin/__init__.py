"""The admin API under `/api/moongate/v1/`.

routes ── table ── store · tokens · hosting · identity · feeds · policy · approvals · webhooks
   │                 audit · verdicts · tasks ── jobs      (a noun's operations and what runs them)
   └── openapi
operations   one operation as a value; every noun makes some
models, …    what operations take and give
"""
