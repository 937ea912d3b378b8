"""What guards cost where it counts: requests a second of a server that many connections keep busy.

uvicorn serves the same app bare and guarded, and wrk asks; the app, Redis and wrk share this
machine. Bare and guarded take turns of some seconds, and each turn is compared with the bare ones
right before and after it.
"""
