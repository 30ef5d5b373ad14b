"""The real engine over a vocabulary of single bytes: what a model could write, and random such texts."""

import json
import random
from collections.abc import Mapping

from llguidance import LLMatcher, LLTokenizer

from backends.constraint.schema import translate_schema
from backends.llama_cpp.guide import parser_limits

_TOKENIZER = LLTokenizer("byte")
_END = set(_TOKENIZER.eos_tokens)
_CLOSING = set(b'"}]')


def matcher_of(lark: str, others: Mapping[str, str] | None = None) -> LLMatcher:
    parts = [{"lark_grammar": lark}]
    parts += [{"name": name, "lark_grammar": other} for name, other in (others or {}).items()]
    matcher = LLMatcher(_TOKENIZER, json.dumps({"grammars": parts}), log_level=0, limits=parser_limits())
    assert not matcher.is_error(), matcher.get_error()
    return matcher


def schema_matcher(schema: object, *, closed: bool = False) -> LLMatcher:
    return matcher_of(f"start: %json {translate_schema(json.dumps(schema), 'schema', closed=closed)}")


def accepts(matcher: LLMatcher, text: str) -> bool:
    """Whether exactly this text can be written."""
    copy = matcher.deep_copy()
    data = list(text.encode())
    return copy.try_consume_tokens(data) == len(data) and copy.is_accepting()


def write(matcher: LLMatcher, seed: int, patience: int = 300) -> str | None:
    """A random text that the engine allows; None if it has not come to an end in time."""
    chance = random.Random(seed)
    copy = matcher.deep_copy()
    written = bytearray()
    for step in range(4 * patience):
        bits = copy.compute_bitmask()
        allowed = [token for token in range(_TOKENIZER.vocab_size) if bits[token // 8] >> (token % 8) & 1]
        assert allowed, copy.get_error()
        if _END & set(allowed) and (set(allowed) <= _END or step > patience or chance.random() < 0.5):
            return written.decode()
        choices = [token for token in allowed if token not in _END]
        closing = [token for token in choices if token in _CLOSING]
        token = chance.choice(closing if closing and (step > patience or chance.random() < 0.3) else choices)
        assert copy.consume_token(token), copy.get_error()
        written.append(token)
    return None
