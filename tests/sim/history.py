"""One history: what a seed makes institutions do and machines suffer, held against the books."""

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from random import Random
from typing import Any, cast

from services.claims.operations import payouts
from services.kernel.errors import Conflict, LiandongError
from services.kernel.values import replace
from services.loans.operations import day as day_close
from tests.sim import acts, county, invariants, world
from tests.sim.county import COUNTY
from tests.sim.memory import BrokenRule, Row
from tests.sim.world import AFTER, BEFORE, NOUNS, Command, Died, World

ROUNDS_MAX = 30
"""After so many rounds of nothing but deliveries a history must be quiet (L1)."""


class Found(Exception):
    """A history broke a rule: which seed, and the story up to it."""

    def __init__(self, seed: int, story: Sequence[str], lines: Sequence[str]) -> None:
        self.seed, self.story, self.lines = seed, tuple(story), tuple(lines)
        super().__init__(seed, tuple(story), tuple(lines))

    def __str__(self) -> str:
        again = f"replay it: python -m tests.sim --replay {self.seed}"
        return "\n".join([f"seed {self.seed}", *self.story, "broke:", *self.lines, again])


class _Names:
    """Events, to be named when somebody reads the story."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __str__(self) -> str:
        return ", ".join(row.envelope.event_type.rsplit(".", 1)[1] for row in self._rows)


class History:
    """A county of its own, its commands, its events, and what must hold after each step."""

    def __init__(self, seed: int, start: World, *, calm: bool = False) -> None:
        self.seed = seed
        self.rng = Random(seed)
        self.world = start
        self.today: date = start.dbs["loans"].day
        self.calm = calm
        """No faults: a beginning is lived so."""
        self._told: list[tuple[str, tuple[object, ...]]] = []
        self.counts: Counter[str] = Counter()
        self.steps = 0
        self._unanswered: list[Command] = []
        self._answered: list[tuple[Command, Any]] = []

    # --- telling ----------------------------------------------------------------------------------

    def tell(self, line: str, *args: object) -> None:
        """One line of the story; it is put together only when somebody reads it."""
        self._told.append((line, args))

    @property
    def story(self) -> list[str]:
        """What happened, line by line."""
        return [line.format(*args) for line, args in self._told]

    def check(self) -> None:
        """The end of a history that broke a rule."""
        if self.world.broken:
            raise Found(self.seed, self.story, self.world.broken)

    # --- asking -----------------------------------------------------------------------------------

    def command(
        self, noun: str, name: str, who: str, request: tuple[Any, ...], work: world.Work
    ) -> Command:
        """A command with an id of its own, kept before it is sent."""
        return Command(noun, name, who, request, world.new_id(), work)

    def send(self, command: Command) -> Any:
        """A call that may be refused, and whose process may die; None when there is no answer."""
        db = self.world.dbs[command.noun]
        luck = 1.0 if self.calm else self.rng.random()
        fate = BEFORE if luck < 0.06 else AFTER if luck < 0.12 else ""
        try:
            answer, broken = world.alone(db, self.world.ask(command), fate)
        except LiandongError as refusal:
            self.counts["refused"] += 1
            self.tell("{}: refused, {}", command, refusal.reason)
            return None
        except Died as death:
            self.counts["died"] += 1
            self.world.broken += death.args[1] if len(death.args) > 1 else []
            self.tell("{}: {} died {}", command, command.noun, death.args[0])
            self._unanswered.append(command)
            return None
        self._done(command, answer, broken)
        if luck > 0.98 and not self.calm:
            self._ask_again(command, answer)
        return answer

    def _done(self, command: Command, answer: Any, broken: list[str]) -> None:
        self.counts[command.name] += 1
        self.tell("{}: done", command)
        self.world.broken += broken
        self._answered.append((command, answer))

    def _ask_again(self, command: Command, before: Any) -> None:
        """The same request twice has one effect and one answer; another body is refused (F14)."""
        db = self.world.dbs[command.noun]
        entries, rows = len(db.journal), len(db.outbox)
        self.counts["asked again"] += 1
        self.tell("{}: asked again", command)
        if self.rng.random() < 0.3:
            other = replace(command, request=(*command.request, "another"))
            try:
                world.alone(db, self.world.ask(other))
                self.world.broken.append(f"F14 {command} was taken with another body")
            except Conflict:
                return
            except LiandongError as refusal:
                self.world.broken.append(f"F14 {command} with another body: {refusal.reason}")
            return
        try:
            answer, broken = world.alone(db, self.world.ask(command))
        except LiandongError as refusal:
            self.world.broken.append(f"F14 {command} is refused now: {refusal.reason}")
            return
        self.world.broken += broken
        if answer is not before or (entries, rows) != (len(db.journal), len(db.outbox)):
            self.world.broken.append(f"F14 {command} took effect twice")

    def answer_late(self) -> None:
        """A client whose call was cut off asks again, with the same id."""
        command = self._unanswered.pop(self.rng.randrange(len(self._unanswered)))
        self.send(command)

    # --- two at once ------------------------------------------------------------------------------

    def race(self, first: Command, second: Command | None) -> None:
        """Two transactions of one service at the same moment: commands, or one and a delivery."""
        noun = first.noun
        db, rows = self.world.dbs[noun], []
        works = [self.world.ask(first)]
        if second is None:
            self._publish(noun)
            rows = self._some(noun)
            if not rows:
                self.send(first)
                return
            works.append(self.world.take(noun, rows))
        else:
            works.append(self.world.ask(second))
        self.counts["races"] += 1
        self.tell("at once: {} and {}", first, second or f"{len(rows)} events")
        outcomes = world.together(db, works, self.rng)
        for command, outcome in zip((first, second), outcomes, strict=True):
            self._raced(noun, command, outcome)

    def _raced(self, noun: str, command: Command | None, outcome: world.Outcome) -> None:
        if isinstance(outcome, LiandongError):
            self.tell("  {}: refused, {}", command or "events", outcome.reason)
        elif isinstance(outcome, BrokenRule | AssertionError):
            # Its client gets an error, and the events come again: it must hold at the next try.
            self.tell("  {}: undone, {}", command or "events", outcome)
            if command is not None:
                self._unanswered.append(command)
        elif isinstance(outcome, Exception):
            raise outcome
        elif command is None:
            self.world.broken += outcome[1]
            self.world.acknowledge(noun, outcome[0])
        else:
            self._done(command, *outcome)

    # --- events -----------------------------------------------------------------------------------

    def _publish(self, listener: str) -> None:
        for source in world.hears()[listener]:
            self.world.publish(source, twice=not self.calm and self.rng.random() < 0.03)

    def _some(self, noun: str) -> list[Row]:
        """Some of what is under way, a few shuffled and a few twice, with an old one among them."""
        rng, held = self.rng, self.world.under_way[noun]
        had = self.world.had[noun]
        if not held:
            return rng.sample(had, min(len(had), 2)) if rng.random() < 0.3 else []
        count = len(held) if rng.random() < 0.6 else rng.randint(1, len(held))
        chosen = rng.sample(held, count) if rng.random() < 0.3 else held[:count]
        if rng.random() < 0.3:
            chosen = [*chosen, rng.choice(chosen)]
        if had and rng.random() < 0.15:
            chosen = [rng.choice(had), *chosen]
        return chosen

    def deliver(self, noun: str = "") -> None:
        """Events arrive: late, in another order, twice; a process dies over them."""
        rng = self.rng
        noun = noun or rng.choice(NOUNS)
        self._publish(noun)
        rows = self._some(noun)
        if not rows:
            return
        luck = rng.random()
        fate = BEFORE if luck < 0.07 else AFTER if luck < 0.16 else ""
        self.tell("{} gets {}{}", noun, _Names(rows), f", dies {fate}" if fate else "")
        self.counts["delivered"] += len(rows)
        self.world.deliver(noun, rows, fate)

    def lose_stream(self) -> None:
        """The stream is wiped, and filled again from the outbox (F6)."""
        noun = self.rng.choice(NOUNS)
        self.tell("the stream lost what {} had said", noun)
        self.counts["streams lost"] += 1
        self.world.lose_stream(noun)

    def quiet(self) -> None:
        """Nothing but deliveries until nobody has anything to say."""
        for _ in range(ROUNDS_MAX):
            said = sum(self.world.publish(noun) for noun in NOUNS)
            if not said and not any(self.world.under_way.values()):
                return
            for noun in NOUNS:
                if self.world.under_way[noun]:
                    self.world.deliver(noun, list(self.world.under_way[noun]))
            self.check()
        left = {noun: len(rows) for noun, rows in self.world.under_way.items()}
        self.world.broken.append(f"L1 events are under way for ever: {left}")
        self.check()

    # --- days -------------------------------------------------------------------------------------

    def days_pass(self, days: int) -> None:
        """A clock jumps: days pass in each service on its own, and what is due is done."""
        self.today += timedelta(days=days)
        self.tell("{} days pass, it is {}", days, self.today)
        for noun in NOUNS:
            if not self.calm and self.rng.random() < 0.15:
                # This one hears of the day later; no decision depends on two clocks.
                continue
            self.close_day(noun)

    def close_day(self, noun: str) -> None:
        """One service closes its days up to the county's."""
        db = self.world.dbs[noun]
        if db.day >= self.today:
            return
        db.day = self.today
        last = self.today - timedelta(days=1)
        catalogue = county.catalogue()
        works: list[world.Work] = []
        if noun == "loans":
            works.append(lambda s: day_close.age_loans(cast(Any, s), COUNTY, last, catalogue))
            works.append(lambda s: day_close.trip_breakers(cast(Any, s), COUNTY, last, catalogue))
        if noun == "claims":
            works.append(lambda s: payouts.close_day(cast(Any, s), catalogue, COUNTY, last))
        for work in works:
            self.world.broken += world.alone(db, work)[1]

    # --- living -----------------------------------------------------------------------------------

    def live(self) -> None:
        """Some steps, and then rest; whatever else goes wrong is found too."""
        try:
            for _ in range(self.rng.randint(6, 16)):
                self.step()
                self.check()
            self.rest()
        except Found:
            raise
        except Exception as error:
            line = f"{type(error).__name__}: {error}"
            raise Found(self.seed, self.story, [*self.world.broken, line]) from error

    def step(self) -> None:
        """One thing happens."""
        self.steps += 1
        rng = self.rng
        luck = rng.random()
        if luck < 0.40:
            self.deliver()
            return
        if luck < 0.45:
            self.days_pass(rng.choice((1, 3, 12, 40)))
            return
        if luck < 0.46:
            self.lose_stream()
            return
        if self._unanswered and luck < 0.55:
            self.answer_late()
            return
        if self._answered and luck < 0.57:
            self._ask_again(*rng.choice(self._answered))
            return
        command = self._some_command()
        if command is None:
            self.deliver()
        elif rng.random() < 0.2:
            self._race_with(command)
        else:
            self.send(command)

    def _race_with(self, first: Command) -> None:
        for _ in range(4):
            # What is said about one payout at the same moment is where most would go wrong.
            twin = first.name == "say" and self.rng.random() < 0.5
            second = acts.say(self) if twin else self._some_command()
            if second is not None and second.noun == first.noun:
                self.race(first, second if self.rng.random() < 0.5 else None)
                return
        self.race(first, None)

    def _some_command(self) -> Command | None:
        """Mostly something that is waited for, else whatever anybody may try."""
        rng = self.rng
        if rng.random() < 0.75:
            useful = acts.useful(self)
            if useful:
                return rng.choice(useful)(self)
        return rng.choice(acts.ANY)(self)

    def rest(self) -> None:
        """Everybody hears all, confirms all, and the books of the services agree."""
        self.calm = True
        self.tell("rest")
        self._late()
        for noun in NOUNS:
            self.close_day(noun)
        for _ in range(ROUNDS_MAX):
            self.quiet()
            if not acts.give_account(self) and not acts.confirm_all(self):
                break
        self.world.broken += invariants.at_rest(self.world.dbs, world.hears())
        self._answers_kept()
        self.check()
        if self.seed % 3 == 0:
            self._hear_all_again()

    def _late(self) -> None:
        while self._unanswered:
            self.answer_late()
            self.check()

    def _answers_kept(self) -> None:
        """What somebody was told is done is done."""
        for command, answer in self._answered:
            kept = self.world.dbs[command.noun].answers.get(command.request_id)
            if kept is None or kept[1] is not answer:
                self.world.broken.append(f"F7 {command} was answered, and is not kept")

    def _hear_all_again(self) -> None:
        """The stream was lost and published again: nothing comes of it (F6, F19)."""
        for noun in NOUNS:
            db = self.world.dbs[noun]
            before = (len(db.journal), len(db.outbox))
            had = self.world.had[noun]
            self.world.deliver(noun, self.rng.sample(had, min(len(had), 6)))
            if before != (len(db.journal), len(db.outbox)):
                self.world.broken.append(f"G8 {noun} heard events again, and something changed")
        self.check()
