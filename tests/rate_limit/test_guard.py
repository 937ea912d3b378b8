"""The rate limit as a guard: whom it charges, for what, and what it says."""

import json
import time
from functools import wraps
from types import SimpleNamespace
from typing import Any

import http_sf
import pytest

from asgi_guard import (
    ConfigurationError,
    MemoryStore,
    Quota,
    RateLimit,
    RateLimiter,
    Rule,
    header,
)
from asgi_guard.rate_limit.layer import RateLimitLayer
from asgi_guard.shell import Shell
from asgi_guard.testing import FakeClock
from tests.driver import Exchange, connect, get, hello
from tests.rate_limit.limiting import Limited


def limited(*rules: Rule | str, **more: Any) -> Any:
    """Return the greeting app behind rules, on a clock that stands still."""
    return RateLimit(*rules, store=MemoryStore(clock=FakeClock(0.0)), **more)(hello)


async def statuses(app: Any, *requests: Any) -> list[int]:
    """Send requests one after the other."""
    return [(await request.run(app)).status for request in requests]


def parsed(exchange: Exchange, field: str) -> Any:
    """Read a list of RFC 9651 with somebody else's parser."""
    return http_sf.parse(exchange.headers[field].encode(), tltype="list")


async def test_each_address_has_its_own_quota() -> None:
    """One client over its quota does not touch another."""
    app = limited("2/minute")
    ann, bob = ("192.0.2.1", 1), ("192.0.2.2", 1)
    assert await statuses(app, *(get(client=ann) for _ in range(3))) == [200, 200, 429]
    assert await statuses(app, get(client=bob)) == [200]


async def test_the_port_and_forwarding_fields_are_not_believed() -> None:
    """A new connection or an invented address is the same client."""
    app = limited("1/minute")
    again = get(client=("192.0.2.1", 9), headers={"x-forwarded-for": "203.0.113.7"})
    assert await statuses(app, get(client=("192.0.2.1", 1)), again) == [200, 429]


async def test_every_path_counts() -> None:
    """Unknown paths and methods are requests like all others."""
    app = limited("2/minute")
    assert await statuses(app, get("/nowhere"), get(method="BREW"), get("/")) == [200, 200, 429]


async def test_a_rule_for_a_path_leaves_others_alone() -> None:
    """Only what it names, by method and template."""
    app = limited(Rule("1/minute", path="/users/{id}", methods={"post"}))
    assert await statuses(app, get("/users/1", method="POST")) == [200]
    assert await statuses(app, get("/users/2", method="POST")) == [429]
    assert await statuses(app, get("/users/3"), get("/users", method="POST")) == [200, 200]


async def test_rules_are_charged_together_or_not_at_all() -> None:
    """Refused by the tight rule, a request takes nothing from the wide one."""
    app = limited("3/minute", Rule("1/minute", path="/login"))
    assert await statuses(app, *(get("/login") for _ in range(5))) == [200] + [429] * 4
    assert await statuses(app, get(), get(), get()) == [200, 200, 429]


async def test_a_header_keys_by_its_hash() -> None:
    """Each value has a quota; without the field, the address has one."""
    store = MemoryStore(clock=FakeClock(0.0))
    app = RateLimit(Rule("1/minute", key=header("X-Api-Key")), store=store)(hello)
    key = {"x-api-key": "secret-of-ann"}
    assert await statuses(app, get(headers=key), get(headers=key)) == [200, 429]
    assert await statuses(app, get(headers={"x-api-key": "bob"}), get(), get()) == [200, 200, 429]
    assert "secret-of-ann" not in repr(vars(store)) + repr(store._tables)


async def test_a_key_of_none_exempts() -> None:
    """A function may say that a request is not its business."""
    app = limited(Rule("1/minute", key=lambda scope: "x" if scope["headers"] else None))
    assert await statuses(app, get(), get(), get()) == [200] * 3


async def test_preflights_are_exempt() -> None:
    """Browsers send them unasked; a bare OPTIONS is charged."""
    app = limited("1/minute")
    cors = {"origin": "https://a.example", "access-control-request-method": "PUT"}
    preflights = [get(method="OPTIONS", headers=cors) for _ in range(3)]
    assert await statuses(app, *preflights) == [200] * 3
    assert await statuses(app, get(method="OPTIONS"), get(method="OPTIONS")) == [200, 429]


async def test_the_fields_are_those_of_the_draft() -> None:
    """An independent parser of RFC 9651 reads them; the tightest policy comes first."""
    rules = (Rule("300/minute", name='a "quoted\\" %s'), Rule(Quota(5, 0.5), name="burst"))
    app = limited(*rules)
    for left in (4, 3, 2, 1, 0):
        exchange = await get().run(app)
        assert parsed(exchange, "ratelimit-policy") == [
            ("burst", {"q": 5, "w": 1}),
            ('a "quoted\\" %s', {"q": 300, "w": 60}),
        ]
        (tight, tight_state), (wide, wide_state) = parsed(exchange, "ratelimit")
        assert (tight, tight_state["r"]) == ("burst", left)
        assert (wide, wide_state["r"]) == ('a "quoted\\" %s', 295 + left)
        assert min(tight_state["t"], wide_state["t"]) >= 1
    refused = await get().run(app)
    assert refused.status == 429
    assert parsed(refused, "ratelimit")[0][1]["r"] == 0


async def test_fields_can_be_left_out() -> None:
    """Not on successes, and not on refusals; Retry-After stays."""
    app = limited("1/minute", fields=None)
    for _ in range(2):
        exchange = await get().run(app)
        assert not [name for name in exchange.headers if name.startswith("ratelimit")]
    assert "retry-after" in exchange.headers


async def test_a_refusal_names_every_violated_rule() -> None:
    """In the order of the rules; with the longest wait of all."""
    app = limited("1/minute", Rule("1/hour", name="hourly"))
    await get().run(app)
    exchange = await get().run(app)
    problem = json.loads(exchange.body)
    assert problem["violated-policies"] == ["1/minute", "hourly"]
    assert problem["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert int(exchange.headers["retry-after"]) > 60


@pytest.mark.parametrize("name", [r"\u0000", "%d %s %", '"', "\\", "{retry}"])
async def test_any_name_can_be_refused_by(name: str) -> None:
    """Nothing in it is taken for a place to fill in."""
    app = limited(Rule("1/minute", name=name))
    await get().run(app)
    assert json.loads((await get().run(app)).body)["violated-policies"] == [name]


async def test_a_rule_keeps_no_set_that_somebody_else_can_change() -> None:
    """What was checked stays as it was checked, and can be hashed."""
    methods = {"post"}
    rule = Rule("1/minute", methods=methods)
    methods.clear()
    assert rule.methods == frozenset({"POST"})
    assert hash(rule) == hash(Rule("1/minute", methods={"POST"}))


async def test_waiting_as_told_is_enough() -> None:
    """A client that obeys Retry-After is admitted."""
    clock = FakeClock(12.3)
    app = RateLimit("3/minute", store=MemoryStore(clock=clock))(hello)
    assert await statuses(app, get(), get(), get()) == [200] * 3
    for _ in range(5):
        refused = await get().run(app)
        clock.advance(int(refused.headers["retry-after"]))
        assert (await get().run(app)).status == 200


async def test_an_accepted_websocket_carries_the_fields() -> None:
    """A handshake is a request, charged as a GET."""
    app = RateLimit(Rule("1/minute", methods={"GET"}), store=MemoryStore())

    async def accept(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept", "headers": [(b"x-app", b"yes")]})

    guarded = app(accept)
    accepted = await connect().run(guarded)
    names = [name for name, _ in accepted.sent[0]["headers"]]
    assert names == [b"x-app", b"ratelimit-policy", b"ratelimit"]
    assert (await connect().run(guarded)).status == 429


def test_counts_are_kept_by_rule() -> None:
    """A snapshot is a copy of this moment."""
    layer = RateLimitLayer(RateLimit("1/minute", Rule("9/hour", path="/x")))
    assert [(c.rule, c.allowed, c.denied) for c in layer.snapshot()] == [
        ("1/minute", 0, 0),
        ("9/hour /x", 0, 0),
    ]


async def test_rules_that_refuse_together_render_their_answer_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A flood meets them again and again, and to render it takes as long as all the rest."""
    app = RateLimit(Rule("1/minute", name="burst"), Rule("1/hour", name="steady"))(hello)
    rendered: list[Any] = []

    def dumps(content: Any) -> str:
        rendered.append(content)
        return json.dumps(content)

    monkeypatch.setattr("asgi_guard.refusal.json", SimpleNamespace(dumps=dumps))
    bodies = [(await get().run(app)).body for _ in range(5)][1:]
    assert len(rendered) == 2  # with a wait, and without
    assert [json.loads(body)["violated-policies"] for body in bodies] == [["burst", "steady"]] * 4


async def test_only_the_violated_rule_counts_a_denial() -> None:
    """The others did not deny anything, and did not charge anything."""
    settings = RateLimit("9/minute", Rule("1/minute", name="tight"))
    layer = RateLimitLayer(settings)
    await statuses(Shell(settings, hello, [layer]), get(), get(), get())
    assert [(c.rule, c.allowed, c.denied) for c in layer.snapshot()] == [
        ("9/minute", 1, 0),
        ("tight", 1, 2),
    ]


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (RateLimit, "RateLimit.rules"),
        (lambda: RateLimit("often"), "Rule.quota"),
        (lambda: RateLimit(5), "RateLimit.rules"),  # type: ignore[arg-type]
        (lambda: RateLimit("1/hour", "1/hour"), "Rule.name"),
        (lambda: RateLimit("1/hour", Rule("2/hour", name="1/hour")), "Rule.name"),
        (lambda: RateLimit("1/hour", store="redis"), "RateLimit.store"),
        (lambda: RateLimit("1/hour", fields="draft-7"), "RateLimit.fields"),  # type: ignore[arg-type]
        (lambda: RateLimit("1/hour", jitter=2), "RateLimit.jitter"),
        (lambda: RateLimit("1/hour", jitter="x"), "RateLimit.jitter"),  # type: ignore[arg-type]
        (lambda: Rule("1/hour", name="naïve"), "Rule.name"),
        (lambda: Rule("1/hour", name=""), "Rule.name"),
        (lambda: Rule("1/hour", name="a\r\nb"), "Rule.name"),
        (lambda: Rule("1/hour", key="client_ip"), "Rule.key"),  # type: ignore[arg-type]
        (lambda: Rule("1/hour", path="login"), "Rule.path"),
        (lambda: Rule("1/hour", path="/a*b"), "Rule.path"),
        (lambda: Rule("1/hour", path="/a?b=1"), "Rule.path"),
        (lambda: Rule("1/hour", path="/a#b"), "Rule.path"),
        (lambda: Rule("1/hour", path="/a%20b"), "Rule.path"),
        (lambda: Rule("1/hour", path="//a"), "Rule.path"),
        (lambda: Rule("1/hour", path="/a//b"), "Rule.path"),
        (lambda: Rule("1/hour", path="/über"), "Rule.name"),
        (lambda: Rule("1/hour", key=lambda: "x"), "Rule.key"),  # type: ignore[misc,arg-type]
        (lambda: Rule("1/hour", key=str), "Rule.key"),
        (lambda: RateLimit("1/hour", store=MemoryStore), "RateLimit.store"),  # type: ignore[arg-type]
        (lambda: RateLimit("1/hour", store=RateLimiter("1/hour")), "RateLimit.store"),  # type: ignore[arg-type]
        (lambda: MemoryStore(clock=5), "MemoryStore.clock"),  # type: ignore[arg-type]
        (lambda: Rule("1/hour", algorithm=["token-bucket"]), "Rule.algorithm"),  # type: ignore[arg-type]
        (lambda: Rule("1/hour", on_store_failure=["admit"]), "Rule.on_store_failure"),  # type: ignore[arg-type]
        (lambda: Rule("1/hour", path="/{a}/{a}"), "Rule.path"),
        (lambda: Rule("1/hour", path="/{a:colour}"), "Rule.path"),
        (lambda: Rule("1/hour", path="/{a"), "Rule.path"),
        (lambda: Rule("1/hour", methods="POST"), "Rule.methods"),  # type: ignore[arg-type]
        (lambda: Rule("1/hour", methods=set()), "Rule.methods"),
        (lambda: Rule("1/hour", methods={"PO ST"}), "Rule.methods"),
        (lambda: Rule("1/hour", cost=-1), "Rule.cost"),
        (lambda: Rule("1/hour", cost=10**15), "Rule.cost"),
        (lambda: Rule("1/hour", cost=True), "Rule.cost"),
        (lambda: Rule("1/hour", cost=1.5), "Rule.cost"),  # type: ignore[arg-type]
        (lambda: Rule("1/hour", cost=int), "Rule.cost"),  # type: ignore[arg-type]
        (lambda: Rule("1/hour", cost=lambda: 1), "Rule.cost"),  # type: ignore[misc,arg-type]
        (lambda: Rule("1/hour", exempt="10.0.0.0/8"), "Rule.exempt"),
        (lambda: Rule("1/hour", exempt=["10.0.0.1/8"]), "Rule.exempt"),
        (lambda: Rule("1/hour", exempt=["localhost"]), "Rule.exempt"),
        (lambda: Rule("1/hour", exempt=[""]), "Rule.exempt"),
        (lambda: Rule("1/hour", exempt=["/a*b"]), "Rule.exempt"),
        (lambda: Rule("1/hour", exempt=["/{a"]), "Rule.exempt"),
        (lambda: Rule("1/hour", exempt=[7]), "Rule.exempt"),  # type: ignore[list-item]
        (lambda: Rule("1/hour", exempt=[lambda: True]), "Rule.exempt"),  # type: ignore[misc,list-item]
        (lambda: RateLimit("1/hour", exempt="/health"), "RateLimit.exempt"),
        (lambda: RateLimit("1/hour", exempt=["health"]), "RateLimit.exempt"),
        (lambda: header("x api key"), "header.name"),
        (lambda: header("x-api-key:"), "header.name"),
        (lambda: header("X_API_KEY"), "header.name"),
        (lambda: header(""), "header.name"),
    ],
)
def test_a_wrong_setting_is_named(make: Any, field: str) -> None:
    """The field, what it was, and what it may be, when the object is made."""
    with pytest.raises(ConfigurationError) as raised:
        make()
    assert raised.value.field == field
    assert str(raised.value).startswith(f"{field} is ")
    assert "; allowed: " in str(raised.value)


async def test_a_key_that_is_no_string_is_named() -> None:
    """A key function is the user's code, and its mistake must not look like ours."""
    app = limited(Rule("1/minute", key=lambda scope: scope["headers"]))
    with pytest.raises(TypeError, match=r"function .*<lambda> returned \[\]; allowed: a string"):
        await get().run(app)


async def test_a_decorated_key_is_judged_by_its_own_arguments() -> None:
    """`functools.wraps` shows those of the function inside."""

    def inner(scope: Any, database: object) -> str:
        return "x"

    @wraps(inner)
    def key(scope: Any) -> str:
        return inner(scope, None)

    assert await statuses(limited(Rule("1/hour", key=key)), get(), get()) == [200, 429]


def test_no_store_shows_a_password() -> None:
    """Whether or not it is one, in errors and where the guard is shown."""
    for store in ("rediss+x://user:secret@host", "user:secret@host", "redis://u:secret@host:x"):
        with pytest.raises(ConfigurationError) as raised:
            RateLimit("1/hour", store=store)
        assert "secret" not in str(raised.value)
    assert "secret" not in repr(RateLimit("1/hour", store="redis://user:secret@host"))


async def test_a_store_of_the_users_own_decides() -> None:
    """Also when it is made from ours."""
    asked: list[int] = []

    class Watched(MemoryStore):
        async def hit(self, charges: Any, *, within: float | None = None) -> Any:
            asked.append(len(charges))
            return await super().hit(charges)

    guarded = RateLimit("2/hour", store=Watched())(hello)
    assert await statuses(guarded, get(), get(), get(), connect()) == [200, 200, 429, 429]
    assert asked == [1, 1, 1, 1]


async def test_legacy_fields_are_of_the_tightest_rule() -> None:
    """`X-RateLimit-Reset` is a Unix time: when there is more."""
    rules = ("9/minute", Rule("2/minute", name="tight"))
    answer = await get().run(limited(*rules, fields="legacy"))
    assert answer.headers["x-ratelimit-limit"] == "2"
    assert answer.headers["x-ratelimit-remaining"] == "1"
    assert -1 <= int(answer.headers["x-ratelimit-reset"]) - time.time() <= 62
    assert "ratelimit" not in answer.headers


@pytest.mark.parametrize("rules", [("1/minute",), ("1/minute", "9/hour")])
async def test_both_kinds_of_fields_may_be_sent(rules: tuple[str, ...]) -> None:
    """On what is admitted and on what is refused."""
    guarded = limited(*rules, fields="both")
    for status, left in ((200, "0"), (429, "0")):
        answer = await get().run(guarded)
        assert answer.status == status
        assert answer.headers["x-ratelimit-remaining"] == left
        assert parsed(answer, "ratelimit")[0][0] == "1/minute"


async def test_jitter_adds_to_the_wait_and_takes_nothing_from_it() -> None:
    """Up to its share."""
    waits: list[set[int]] = []
    for jitter in (0.0, 0.5):
        guarded = limited("1/hour", jitter=jitter)
        await get().run(guarded)
        answers = [await get().run(guarded) for _ in range(200)]
        waits.append({int(answer.headers["retry-after"]) for answer in answers})
    (least,), spread = waits
    assert least <= min(spread) < max(spread) <= 1.5 * least + 1
    assert len(spread) > 50


async def test_rules_of_several_keys_charge_whom_each_means() -> None:
    """Also where all of them are decided at once, in this process."""
    limited = Limited("2/hour", Rule("1/hour", name="keys", key=header("x-api-key")))
    first = get("/", headers={"x-api-key": "one"})
    again = get("/", headers={"x-api-key": "one"}, client=("192.0.2.9", 1))
    other = get("/", headers={"x-api-key": "two"})
    assert await limited.statuses(first, again, other) == [200, 429, 200]
