"""
Peers that this repository does not lock, each a program for an interpreter that has them.

`python FILE DSN COUNT [...]` does so many of something and prints how many a second; it imports
nothing of ours, for nothing of ours is where it runs. An environment of its own that has all:
`pip install dbos absurd-sdk absurdctl restate-sdk hypercorn "httpx" django-hordak nats-outbox
"psycopg[binary]"`; Restate's server is a program on the path.
"""
