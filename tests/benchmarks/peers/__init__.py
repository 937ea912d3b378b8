"""Other limiters round the same app: the fastest way that each of them has to limit by client.

All of them limit each client by its address. Where a package brings a middleware or a dependency
of its own, that is used; the others are put into the smallest middleware there is.
"""
