"""From a seed to a plan, and its execution. The same seed is the same plan; threads and processes still race."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from faults.injections import ALL, Injection
from faults.world import World


@dataclass(frozen=True)
class Step:
    """An injection, so many seconds after the one before in its layer has ended, or after the beginning."""

    injection: Injection
    pause: float
    seconds: float
    seed: int

    def run(self, world: World) -> None:
        time.sleep(self.pause)
        with self.injection.begin(world, random.Random(self.seed)):
            time.sleep(self.seconds)

    def __str__(self) -> str:
        return f"{self.injection.layer}: after {self.pause:.2f} s {self.injection.name} for {self.seconds:.2f} s"


@dataclass(frozen=True)
class Plan:
    """Layers run side by side, the steps of one layer one after the other."""

    name: str
    steps: Sequence[Step]

    def __str__(self) -> str:
        return "\n".join([self.name, *(f"  {step}" for step in self.steps)])

    @property
    def counted(self) -> Counter[str]:
        return Counter(step.injection.name for step in self.steps)

    def layers(self) -> list[list[Step]]:
        names = dict.fromkeys(step.injection.layer for step in self.steps)
        return [[step for step in self.steps if step.injection.layer == name] for name in names]


def available(world: World) -> list[Injection]:
    """The injections that are possible here."""
    return [each for each in ALL if not world.lacks(each.needs)]


def alone(injections: Sequence[Injection], seed: int) -> Plan:
    """These injections, each by itself."""
    chance = random.Random(seed)
    steps = [Step(each, chance.uniform(0.2, 0.4), each.seconds, chance.randrange(1 << 30)) for each in injections]
    return Plan(f"one by one, seed {seed}", steps)


def storm(injections: Sequence[Injection], seed: int, seconds: float) -> Plan:
    """A mixture: in each layer one after the other, for about so many seconds.

    Storms with successive seeds have about the same number of each injection.
    """
    chance = random.Random(seed)
    steps = []
    for layer in dict.fromkeys(each.layer for each in injections):
        elapsed = 0.0
        for injection in _dealt([each for each in injections if each.layer == layer], seed):
            step = Step(
                injection, chance.uniform(0.3, 7), injection.seconds * chance.uniform(0.2, 2), chance.randrange(1 << 30)
            )
            elapsed += step.pause + step.seconds + injection.mending
            if elapsed > seconds:
                break
            steps.append(step)
    return Plan(f"storm of {seconds:.0f} s, seed {seed}", steps)


def _dealt(injections: Sequence[Injection], seed: int) -> Iterator[Injection]:
    """Each once, each of them first once among as many successive seeds as there are injections; then half of them again."""
    round_, first = divmod(seed, len(injections))
    order = list(injections)
    random.Random(round_).shuffle(order)
    yield from order[first:] + order[:first]
    random.Random(seed).shuffle(order)
    yield from order[: (len(order) + 1) // 2]


def one_by_one(plan: Plan, world: World, recover: Callable[[], None]) -> None:
    """Run the plan, and recover from each step before the next one."""
    for step in plan.steps:
        step.run(world)
        recover()


def side_by_side(plan: Plan, world: World) -> None:
    """Run the layers of the plan at the same time; raises what an injection raised, after all have ended."""
    mistakes: list[BaseException] = []

    def run(steps: list[Step]) -> None:
        try:
            for step in steps:
                step.run(world)
        except Exception as exc:  # noqa: BLE001 - of a thread
            mistakes.append(exc)

    threads = [threading.Thread(target=run, args=(steps,)) for steps in plan.layers()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if mistakes:
        raise mistakes[0]
