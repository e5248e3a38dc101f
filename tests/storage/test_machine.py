"""The scripts against the model, at random; and that the machine which does this notices what is wrong."""

from collections.abc import Mapping

import pytest
import redis
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from taskproc.scripts import scripts
from tests.storage.machine import StorageMachine
from tests.storage.mutants import MUTANTS, mutated
from tests.storage.store import Store, repeatable

SOURCES = {name: script.source for name, script in scripts().items()}
ENOUGH_TO_KILL = 250

QUICK = settings(
    max_examples=2,  # the simplest one, and one that the seed makes
    stateful_step_count=25,
    phases=[Phase.generate],
    database=None,
    deadline=None,
    print_blob=False,
    suppress_health_check=(HealthCheck.too_slow,),
)


def _machine(database: redis.Redis, sources: Mapping[str, str]) -> type[StorageMachine]:
    repeated = repeatable(sources)

    def make_store() -> Store:
        database.flushdb()
        return Store(database, "{m}", repeated)

    return type("Machine", (StorageMachine,), {"make_store": staticmethod(make_store)})


def _explore(database: redis.Redis, sources: Mapping[str, str], runs: int, options: settings = QUICK) -> None:
    """So many runs of the machine, the same ones each time. Hypothesis alone would vary each run five times, which
    finds much less in the same time.
    """
    for number in range(runs):
        try:
            run_state_machine_as_test(seed(number)(_machine(database, sources)), settings=options)
        except BaseException as error:
            error.add_note(f"seed {number}")
            raise


def test_scripts_do_what_the_model_does(database: redis.Redis) -> None:
    """Whatever producers, workers and maintenance do, the laws hold and the model agrees; in the end all is drained."""
    _explore(database, SOURCES, 60)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_machine_kills(database: redis.Redis, mutant: str) -> None:
    """A fault that is put into the scripts is noticed."""
    sources = mutated(SOURCES, mutant)
    with pytest.raises((AssertionError, redis.ResponseError)) as caught:
        _explore(database, sources, ENOUGH_TO_KILL)
    assert caught.value.__notes__


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_scripts_do_what_the_model_does_for_long(database: redis.Redis) -> None:
    """Likewise, in more and longer runs."""
    _explore(database, SOURCES, 600, settings(QUICK, stateful_step_count=60))


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_scripts_do_what_the_model_does_by_other_ways(database: redis.Redis) -> None:
    """Hypothesis goes its own ways, others each time; a run that fails is made as short as it can be."""
    options = settings(QUICK, max_examples=400, stateful_step_count=60, phases=[Phase.generate, Phase.shrink])
    run_state_machine_as_test(_machine(database, SOURCES), settings=options)
