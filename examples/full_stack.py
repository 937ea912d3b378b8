"""Everything round a FastAPI app, from one object.

uvicorn examples.full_stack:app
"""

from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from asgi_guard import CircuitBreaker, ConcurrencyLimit, Guard, Health, Metrics, RateLimit, Rule

engine = create_async_engine("sqlite+aiosqlite:///file::memory:?uri=true")
mail = CircuitBreaker("mail")

guard = Guard(
    health=Health(checks={"database": engine}),
    metrics=Metrics(),
    pools={"main": engine},
    rate_limit=RateLimit("300/minute", Rule("5/minute", path="/login", methods={"POST"})),
    concurrency=ConcurrencyLimit(64),
    breakers=[mail],
)

app = FastAPI()
app.add_middleware(guard)


@app.get("/")
async def index() -> dict[str, str]:
    """Ask the database something."""
    async with engine.connect() as connection:
        return {"sqlite": str(await connection.scalar(text("SELECT sqlite_version()")))}


@app.post("/login")
async def login() -> dict[str, str]:
    """Let somebody in; at most five times a minute from one address."""
    return {"message": "welcome"}


@app.post("/invite")
async def invite() -> dict[str, str]:
    """Send a mail; while the mail server keeps failing this is 503 without trying."""
    async with mail:
        raise ConnectionError("this is where the mail server would be called")
