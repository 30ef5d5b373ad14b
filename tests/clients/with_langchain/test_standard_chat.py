"""LangChain's standard integration suite for chat models, through langchain-openai."""

import os
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests


class OneCall(ChatOpenAI):
    """Set up for a small model: one call in an answer, and no arguments that were not asked for."""

    def bind_tools(self, tools: Any, *, tool_choice: Any = None, **more: Any) -> Any:
        settings = {"strict": True, "parallel_tool_calls": False, **more}
        return super().bind_tools(tools, tool_choice=tool_choice, **settings)


class TestChat(ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return OneCall

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": os.environ["LLM_CORTEX_CHAT"],
            "base_url": os.environ["LLM_CORTEX_URL"],
            "api_key": "none",
            "temperature": 0,
            "frequency_penalty": 0.5,  # else a small model repeats itself inside a text until the limit
            "max_tokens": 200,
            "stream_usage": True,
            "max_retries": 0,
        }

    @property
    def model_override_value(self) -> str:
        return os.environ["LLM_CORTEX_SECOND_CHAT"]

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_image_inputs(self) -> bool:
        return False  # the starter model reads text only

    @property
    def supports_audio_inputs(self) -> bool:
        return False  # the starter model reads text only

    @pytest.mark.xfail(reason="no call is demanded here, and so small a model does not think of one")
    @pytest.mark.parametrize("model", [{}, {"output_version": "v1"}], indirect=True)
    def test_agent_loop(self, model: BaseChatModel) -> None:
        super().test_agent_loop(model)

    @pytest.mark.xfail(reason="json_object promises JSON, not its keys, and so small a model forgets one")
    def test_json_mode(self, model: BaseChatModel) -> None:
        super().test_json_mode(model)
