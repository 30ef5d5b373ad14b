"""What the handlers work with, and the steps that every job-making handler shares."""

import hashlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from litestar.types import Scope

from backends.protocol import Description, Item, Job, JobTask, Parameters, SessionParameters
from compat.openai.answers import Answer
from config.schema import Config, ModelSpec, Task
from gateway.engine.engine import Engine
from gateway.engine.errors import BadRequest, ModelNotFound
from gateway.engine.session import SessionStream
from gateway.engine.stream import JobStream
from gateway.http.auth import caller
from gateway.http.picture_files import PictureFiles
from gateway.http.urgency import priority, timeout_s
from gateway.keys import KeyRing
from gateway.reloading import Reloader
from gateway.remote.fetching import Fetcher
from gateway.telemetry.metrics import Metrics


@dataclass(frozen=True)
class Services:
    config: Config
    engine: Engine
    metrics: Metrics
    keys: KeyRing
    reloader: Reloader
    spool: Path | None
    """Where uploads are kept while their requests last; None: the system's folder for temporary files."""
    pictures: PictureFiles
    fetcher: Fetcher | None = None
    """Of pictures that a request names by address; None: they are refused."""

    def model_for(self, name: str, task: Task) -> ModelSpec:
        """The model of this name or alias, if it does `task`. Raises ModelNotFound, BadRequest."""
        spec = self.engine.resolve(name)
        if task not in spec.tasks:
            raise _mismatch(spec, task, spec.tasks)
        return spec

    def open_session(
        self, scope: Scope, job_id: str, model: str, parameters: SessionParameters
    ) -> SessionStream:
        """Hand a session to the engine. Raises its GatewayError at once where it does not take it."""
        key = caller(scope)
        job = Job(
            job_id,
            model,
            "listen",
            parameters,
            [],
            stream=True,
            priority=priority(scope, key.limits),
            timeout_s=timeout_s(scope, self.config.timeouts.session_s),
        )
        return self.engine.open_session(job, key=key)

    def captions(self, name: str) -> bool:
        """Whether the model captions pictures and does not chat; no for one that is not known."""
        try:
            tasks = self.engine.resolve(name).tasks
        except ModelNotFound:
            return False
        return "caption" in tasks and "generate" not in tasks

    def model_or_first(self, name: str, task: Task) -> ModelSpec:
        """For routes that may be asked without a model. Raises ModelNotFound, BadRequest."""
        return self.model_for(name, task) if name else self.first_model(task)

    def first_model(self, task: Task) -> ModelSpec:
        """The first model that does `task`. Raises ModelNotFound."""
        for spec in self.engine.specs:
            if task in spec.tasks:
                return spec
        kind = "chat model" if task == "generate" else f"model that does '{task}'"
        raise ModelNotFound(f"No {kind} is configured.", param="model")

    async def description(self, spec: ModelSpec, task: JobTask) -> Description:
        """What a model can do, `task` among it. Raises BadRequest, ModelFailed."""
        description = await self.engine.description(spec.name)
        if task not in description.tasks:
            raise _mismatch(spec, task, description.tasks)
        return description

    def submit(
        self,
        scope: Scope,
        answer: Answer,
        task: JobTask,
        parameters: Parameters,
        items: list[Item],
        *,
        stream: bool = False,
    ) -> JobStream:
        """Hand a job to the engine. Raises its GatewayError at once where it does not take it."""
        key = caller(scope)
        job = Job(
            id=answer.id,
            model=answer.model,
            task=task,
            parameters=parameters,
            items=items,
            stream=stream,
            priority=priority(scope, key.limits),
            timeout_s=timeout_s(scope, self.config.timeouts.request_s),
        )
        return self.engine.submit(job, key=key)


def _mismatch(spec: ModelSpec, task: JobTask, tasks: Sequence[JobTask]) -> BadRequest:
    return BadRequest(
        f"The model '{spec.name}' does not do '{task}'; it does {', '.join(tasks)}.",
        param="model",
        code="model_task_mismatch",
    )


def new_answer(prefix: str, spec: ModelSpec) -> Answer:
    """Identity of a new answer; its id is the job's too."""
    return Answer(f"{prefix}-{secrets.token_hex(12)}", int(time.time()), spec.name, _fingerprint(spec.name))


@lru_cache(maxsize=1024)
def _fingerprint(model: str) -> str:
    return "fp_" + hashlib.sha256(model.encode()).hexdigest()[:10]
