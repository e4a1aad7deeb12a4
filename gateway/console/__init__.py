"""
The web console: a client of the gateway like any institution's own system, in a process of its own.

It holds institutions' certificates and no database credentials. What a page shows is what the
gateway answered to the person who asked, so its access rules are the gateway's and no others.
"""
