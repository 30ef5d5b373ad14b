"""Chat templates that would hang or break: the helper that renders them is killed, nobody else."""

import queue
from pathlib import Path

import pytest

from backends.prepare import Outcome, Prepared, PrepareStage, Refused
from backends.protocol import Chat, ChatMessage, GenerateParameters, Job, Load, Text, Tool
from config.schema import ModelSpec
from tests.vocabulary_files import write_vocabulary_gguf

SPEC = ModelSpec(name="m", source="m.gguf", backend="llama_cpp", tasks=["generate"])
ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


class Stage:
    """One prepare stage over a model with this template."""

    def __init__(self, path: Path, template: str) -> None:
        write_vocabulary_gguf(path, template, ["</s>"])
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._stage = PrepareStage(Load(SPEC, str(path), "cpu", 2.0), self._outcomes.put)
        self._stage.wait_ready()

    def ask(self, item: Chat | Text) -> Outcome:
        self._stage.submit(Job("1", "m", "generate", GenerateParameters(), [item]))
        return self._outcomes.get(timeout=60)

    def close(self) -> None:
        self._stage.close()


CHAT = Chat([ChatMessage("user", "hello")])
WITH_TOOLS = Chat([ChatMessage("user", "hello")], [Tool("f")])


@pytest.mark.parametrize("chat", [CHAT, WITH_TOOLS])
def test_a_template_without_end_is_stopped_at_the_deadline_and_the_next_job_is_served(
    tmp_path: Path, chat: Chat
) -> None:
    stage = Stage(tmp_path / "m.gguf", ENDLESS)
    try:
        outcome = stage.ask(chat)
        assert isinstance(outcome, Refused)
        assert outcome.code == "prepare_timeout"
        assert isinstance(stage.ask(Text("hello")), Prepared)
    finally:
        stage.close()


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(10**9) %}x{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ messages[0].role.format_map }}{{ cycler.__init__.__globals__.os.system('true') }}",
        "{% include '/etc/passwd' %}",
    ],
)
def test_a_template_that_breaks_or_breaks_out_is_refused(tmp_path: Path, template: str) -> None:
    stage = Stage(tmp_path / "m.gguf", template)
    try:
        for chat in (CHAT, WITH_TOOLS):
            outcome = stage.ask(chat)
            assert isinstance(outcome, Refused), outcome
            assert outcome.param == "messages"
    finally:
        stage.close()
