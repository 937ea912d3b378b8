"""Guarded apps that tell who they think the client is: behind a proxy on this machine, and not."""

from asgi_guard import Guard, Health, RateLimit, TrustedProxies
from asgi_guard._asgi import Receive, Scope, Send


async def _tell(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    host, port = scope["client"] or ("nobody", 0)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": f"{host} {port}".encode()})


trusting = Guard(
    proxies=TrustedProxies("127.0.0.0/8", "unix"),
    health=Health(),
    rate_limit=RateLimit("2/hour"),
)(_tell)
elsewhere = Guard(proxies=TrustedProxies("192.0.2.0/24"), health=Health())(_tell)
