"""What the handlers work with, and the steps that every job-making handler shares."""

import hashlib
import secrets
import time
from dataclasses import dataclass
from functools import lru_cache

from litestar.types import Scope

from backends.protocol import Item, Job, Parameters
from compat.openai.answers import Answer
from config.schema import Config, ModelSpec, Task
from gateway.engine.engine import Engine
from gateway.engine.errors import BadRequest
from gateway.engine.stream import JobStream
from gateway.http.auth import caller
from gateway.keys import KeyRing
from gateway.telemetry.metrics import Metrics


@dataclass(frozen=True)
class Services:
    config: Config
    engine: Engine
    metrics: Metrics
    keys: KeyRing

    def model_for(self, name: str, task: Task) -> ModelSpec:
        """The model of this name or alias, if it does `task`. Raises ModelNotFound, BadRequest."""
        spec = self.engine.resolve(name)
        if task not in spec.tasks:
            raise BadRequest(
                f"The model '{spec.name}' does not do '{task}'; it does {', '.join(spec.tasks)}.",
                param="model",
                code="model_task_mismatch",
            )
        return spec

    def submit(
        self,
        scope: Scope,
        answer: Answer,
        task: Task,
        parameters: Parameters,
        items: list[Item],
        *,
        stream: bool = False,
    ) -> JobStream:
        """Hand a job to the engine. Raises its GatewayError at once where it does not take it."""
        job = Job(
            id=answer.id,
            model=answer.model,
            task=task,
            parameters=parameters,
            items=items,
            stream=stream,
            timeout_s=self.config.timeouts.request_s,
        )
        return self.engine.submit(job, key=caller(scope))


def new_answer(prefix: str, spec: ModelSpec) -> Answer:
    """Identity of a new answer; its id is the job's too."""
    return Answer(f"{prefix}-{secrets.token_hex(12)}", int(time.time()), spec.name, _fingerprint(spec.name))


@lru_cache(maxsize=1024)
def _fingerprint(model: str) -> str:
    return "fp_" + hashlib.sha256(model.encode()).hexdigest()[:10]
