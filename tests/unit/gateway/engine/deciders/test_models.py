"""What is learnt of models, and models that are wanted."""

from gateway.engine import errors
from gateway.engine.events import (
    ModelBroken,
    ModelDescribed,
    ModelWanted,
    StartWorker,
)
from tests.unit.gateway.engine.desk import DESCRIPTION, Desk, failure, of


def test_a_wanted_model_is_started_without_jobs() -> None:
    assert Desk().tell(ModelWanted("m")) == [StartWorker(1, "m", "cpu")]


def test_broken_weights_are_said() -> None:
    desk = Desk()
    desk.tell(ModelBroken("m", errors.ModelFailed("pull it")))
    assert failure(desk.job("a"), "a").message == "pull it"
    desk.tell(ModelDescribed("m", DESCRIPTION))
    assert of(StartWorker, desk.job("b")), "somebody has mended it"
