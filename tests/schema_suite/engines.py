"""The engines that are compared: each compiles a schema and says whether a model could then write a text."""

import atexit
import ctypes
import json
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import httpx
import numpy as np
from llguidance import LLMatcher

from backends.base import JobError
from backends.constraint.schema import translate_schema
from backends.llama_cpp.guide import TokenMask, build_tokenizer, parser_limits
from backends.llama_cpp.library import C
from backends.llama_cpp.model import open_model

LLAMA_SERVER = Path(__file__).parents[2] / "benchmarks" / "vendor" / "build" / "bin" / "llama-server"


class Refused(Exception):
    """The engine says that it cannot honour this schema, and why."""


class Engine(Protocol):
    mask_s: list[float]
    """How long each mask took."""

    def compile(self, schema: Any) -> Any:
        """Raises Refused."""

    def accepts(self, compiled: Any, text: str) -> bool:
        """Whether a model could write exactly this text."""


class Llguidance:
    """llguidance on its own, as its Python package compiles a schema."""

    def __init__(self, path: Path) -> None:
        self._model = open_model(path, vocab_only=True)
        self._vocabulary = self._model.vocabulary
        tokenizer = build_tokenizer(self._vocabulary, self._vocabulary.pieces())
        assert tokenizer is not None
        self._tokenizer = tokenizer
        self._row = np.zeros(self._vocabulary.size, dtype=np.float32)
        self._mask = TokenMask(self._vocabulary.size)
        self.mask_s: list[float] = []

    def compile(self, schema: Any) -> LLMatcher:
        try:
            grammar = LLMatcher.grammar_from_json_schema(self.prepare(json.dumps(schema)))
        except ValueError as error:
            raise Refused(str(error)) from None
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0, limits=parser_limits())
        if matcher.is_error():
            raise Refused(matcher.get_error().partition("\n")[0])
        return matcher

    def prepare(self, schema: str) -> str:
        return schema

    def accepts(self, compiled: LLMatcher, text: str) -> bool:
        matcher = compiled.deep_copy()
        for token in self._vocabulary.tokenize(text, parse_special=False).tolist():
            self._row[:] = 0
            started_at = time.perf_counter()
            self._mask.apply(matcher, self._row)
            self.mask_s.append(time.perf_counter() - started_at)
            # Not by this token's own entry: forced text is masked down to one way of cutting it.
            if not matcher.try_consume_tokens([token]):
                return False
        return matcher.is_accepting()


class Ours(Llguidance):
    """The same behind this project's checks and rewriting, objects as open as the schema leaves them."""

    closed = False

    def prepare(self, schema: str) -> str:
        try:
            return translate_schema(schema, "schema", closed=self.closed)
        except JobError as error:
            raise Refused(error.message) from None


class OursClosed(Ours):
    """As answers are written: without names that the schema does not speak of, which narrows it by design."""

    closed = True


class LlamaCpp:
    """llama.cpp's grammar sampler behind a converter from schemas to GBNF."""

    def __init__(self, path: Path) -> None:
        self._model = open_model(path, vocab_only=True)
        self._vocabulary = self._model.vocabulary
        self._end = sorted(self._vocabulary.end_tokens())
        size = self._vocabulary.size
        self._data = (C.llama_token_data * size)()
        self._entries = np.frombuffer(self._data, dtype=[("id", "<i4"), ("logit", "<f4"), ("p", "<f4")])
        self._ids = np.arange(size, dtype=np.int32)
        self.mask_s: list[float] = []

    def convert(self, schema: Any) -> str:
        from llama_cpp.llama_grammar import json_schema_to_gbnf

        try:
            return str(json_schema_to_gbnf(json.dumps(schema)))
        except Exception as error:  # whatever the converter stumbles over is its refusal
            raise Refused(f"{type(error).__name__}: {error}") from None

    def compile(self, schema: Any) -> bytes:
        grammar = self.convert(schema).encode()
        sampler = C.llama_sampler_init_grammar(self._vocabulary.handle, grammar, b"root")
        if not sampler:
            raise Refused("the grammar sampler cannot parse the grammar")
        C.llama_sampler_free(sampler)
        return grammar

    def accepts(self, compiled: bytes, text: str) -> bool:
        sampler = C.llama_sampler_init_grammar(self._vocabulary.handle, compiled, b"root")
        try:
            for token in self._vocabulary.tokenize(text, parse_special=False).tolist():
                if not self._allows(sampler, token):
                    return False
                C.llama_sampler_accept(sampler, token)
            return any(self._allows(sampler, token) for token in self._end)
        finally:
            C.llama_sampler_free(sampler)

    def _allows(self, sampler: Any, token: int) -> bool:
        """As when sampling: the whole vocabulary is masked."""
        self._entries["id"], self._entries["logit"] = self._ids, 0.0
        array = C.llama_token_data_array(data=self._data, size=len(self._ids), selected=-1, sorted=False)
        started_at = time.perf_counter()
        C.llama_sampler_apply(sampler, ctypes.byref(array))
        self.mask_s.append(time.perf_counter() - started_at)
        return bool(self._entries["logit"][token] == 0.0)


class LlamaServer(LlamaCpp):
    """The same sampler behind llama-server's own converter, which is asked over HTTP."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        command = [
            str(LLAMA_SERVER),
            "-m",
            str(path),
            "-c",
            "256",
            "-np",
            "1",
            "-t",
            "1",
            "--port",
            str(port),
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        atexit.register(self._process.kill)
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        wait_until(lambda: self._client.get("/health").status_code == 200)

    def convert(self, schema: Any) -> str:
        body = {"prompt": "a", "n_predict": 1, "json_schema": schema}
        answer = self._client.post("/completion", json=body).json()
        if "error" in answer:
            raise Refused(str(answer["error"]["message"]))
        return str(answer["generation_settings"]["grammar"])


def wait_until(ready: Callable[[], bool]) -> None:
    for _ in range(300):
        try:
            if ready():
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise TimeoutError("llama-server does not start")


ENGINES: dict[str, Callable[[Path], Engine]] = {
    "ours": Ours,
    "ours-closed": OursClosed,
    "llguidance": Llguidance,
    "llama-cpp-python": LlamaCpp,
    "llama-server": LlamaServer,
}
