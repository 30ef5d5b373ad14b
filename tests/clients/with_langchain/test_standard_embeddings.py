"""LangChain's standard integration suite for embeddings, through langchain-openai."""

import os
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_openai import OpenAIEmbeddings
from langchain_tests.integration_tests import EmbeddingsIntegrationTests


class TestEmbeddings(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return OpenAIEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {
            "model": os.environ["LLM_CORTEX_EMBEDDING"],
            "base_url": os.environ["LLM_CORTEX_URL"],
            "api_key": "none",
            "check_embedding_ctx_length": False,  # else it sends OpenAI's token ids instead of texts
        }
