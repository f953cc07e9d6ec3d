"""A Hub we do not own: which addresses may be asked, and how it is asked.

`guard` decides where a connection may go, `client` asks questions and passes requests through, both for every
request and every redirect. Nothing here keeps bytes or facts; nothing here knows who our callers are beyond
the credential it is handed.
"""
