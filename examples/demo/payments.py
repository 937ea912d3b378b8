"""The downstream of the demo: a payment service that can be put out of order."""

import asyncio

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

_TROUBLED = (
    0.25  # seconds a charge takes while out of order: the usual way to be down is to be slow
)


class Payments:
    """Charges cards, or fails slowly while out of order; `/break` and `/mend` turn it off and on.

    Attributes:
        out_of_order: Whether charges fail.
        received: Charges that have reached the service so far.
    """

    def __init__(self) -> None:
        self.out_of_order = False
        self.received = 0
        routes = {"/charge": self._charge, "/break": self._break, "/mend": self._mend}
        self.app = Starlette(
            routes=[Route(path, answer, methods=["POST"]) for path, answer in routes.items()]
        )

    async def _charge(self, _: Request) -> JSONResponse:
        self.received += 1
        if self.out_of_order:
            await asyncio.sleep(_TROUBLED)
            return JSONResponse({"detail": "out of order"}, 500)
        return JSONResponse({"message": "charged"})

    async def _break(self, _: Request) -> JSONResponse:
        self.out_of_order = True
        return JSONResponse({"message": "out of order"})

    async def _mend(self, _: Request) -> JSONResponse:
        self.out_of_order = False
        return JSONResponse({"message": "in order"})
