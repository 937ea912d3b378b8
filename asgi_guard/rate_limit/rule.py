"""Rules: a quota, and whom and what it applies to."""

from collections.abc import Set as AbstractSet
from dataclasses import KW_ONLY, dataclass

from asgi_guard._checks import check_function, check_name, is_name
from asgi_guard.errors import ConfigurationError
from asgi_guard.keys import Key, client_ip
from asgi_guard.matching import check_methods, compile_matcher
from asgi_guard.rate_limit.quota import Quota, parse_quota


@dataclass(frozen=True, slots=True)
class Rule:
    """A quota, and whom and what it applies to.

    Args:
        quota: How much in how long, such as `"5/minute"`, or a `Quota`.
        name: What header fields, bodies and metrics call the rule: printable ASCII, at most 100
            characters; default: quota, methods and path. Counters belong to the name.
        key: Whom to charge: `client_ip` (the default), `header("x-api-key")`, or a function from
            scope to string, where None exempts the request.
        path: A pattern such as `/login`, `/users/{id}` or `/api/*`; default: every path. It is
            matched below `root_path`, and a slash at the end does not count.
        methods: Method names such as `{"POST"}`; default: every method. GET includes HEAD, and a
            websocket handshake is a GET.

    Raises:
        ConfigurationError: A field is wrong; the message says which, and what is allowed.
    """

    quota: str | Quota
    _: KW_ONLY
    name: str | None = None
    key: Key = client_ip
    path: str | None = None
    methods: AbstractSet[str] | None = None

    def __post_init__(self) -> None:
        """Refuse what is no rule."""
        parse_quota("Rule.quota", self.quota)
        if self.name is not None:
            check_name("Rule.name", self.name)
        check_function(
            "Rule.key",
            self.key,
            "client_ip, header('x-api-key'), or a plain function from scope to string",
        )
        if self.methods is not None:
            object.__setattr__(self, "methods", check_methods("Rule.methods", self.methods))
        compile_matcher("Rule", self.path, self.methods)
        if self.name is None and not is_name(self.label):
            raise ConfigurationError(
                "Rule.name", None, f"a name= for this rule, since {self.label!r} cannot be one"
            )

    @property
    def label(self) -> str:
        """What the rule is called: its name, or its quota, methods and path."""
        if self.name is not None:
            return self.name
        quota = self.quota
        parts = [quota if isinstance(quota, str) else f"{quota.count}/{quota.period:g}s"]
        if self.methods is not None:
            parts.append(",".join(sorted(self.methods)))
        if self.path is not None:
            parts.append(self.path)
        return " ".join(parts)
