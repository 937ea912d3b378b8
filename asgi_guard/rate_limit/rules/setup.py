"""Setup: the rules of one limit are put to work round one app."""

from typing import TYPE_CHECKING

from asgi_guard.matching import Matcher, compile_matcher
from asgi_guard.rate_limit.books import Books
from asgi_guard.rate_limit.rules.charging import Charging
from asgi_guard.rate_limit.rules.exempt import Exemptions, parse_exempt
from asgi_guard.rate_limit.rules.rule import Rule
from asgi_guard.rate_limit.rules.running import RuleTally, RunningRule

if TYPE_CHECKING:
    from asgi_guard.rate_limit.guard import RateLimit


class Setup:
    """Puts rules to work.

    Args:
        settings: The limit that they are rules of.
        books: Where they count.
    """

    def __init__(self, settings: "RateLimit", books: Books) -> None:
        self._settings = settings
        self._books = books

    def put_to_work(
        self, rule: Rule, everywhere: Exemptions
    ) -> tuple[Charging, Matcher | None, Matcher | None]:
        """Return a rule at work, with what it applies to, and which paths it spares.

        Args:
            rule: The rule.
            everywhere: What all rules exempt.
        """
        own = parse_exempt("Rule.exempt", rule.exempt)
        exempt = Exemptions(
            everywhere.paths + own.paths, everywhere.networks + own.networks, own.functions
        )
        applies = compile_matcher("Rule", rule.path, rule.methods)
        books = self._books
        tally = books.tally(rule.label)
        charging = Charging(rule, exempt, self._run, books.here.clock, tally)
        return charging, applies, exempt.path_test()

    def _run(self, rule: Rule, tally: RuleTally) -> RunningRule:
        settings = self._settings
        mode = rule.on_store_failure or settings.on_store_failure
        enforced = 0.0 if settings.shadow else rule.enforced
        store = self._books.store
        running = RunningRule(rule, store, mode, tally, settings.workers, enforced=enforced)
        if mode == "local" and not self._books.is_local:
            running.keep_spare(rule, self._books.here, settings.workers)
        return running
