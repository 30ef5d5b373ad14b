"""LangChain's standard integration suite for chat models, through langchain-openai."""

import os
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests


class TestChat(ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": os.environ["LLM_CORTEX_CHAT"],
            "base_url": os.environ["LLM_CORTEX_URL"],
            "api_key": "none",
            "temperature": 0,
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
