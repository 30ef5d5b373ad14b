"""From what a request demands to grammars that the engine is known to follow. For the prepare helper.

Owns the compiler's cache and budget. What a schema may say is decided in backends.constraint; here it is
tried out on the model's vocabulary, so that an error is a 400 with its place and not the step loop's.
"""

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

import numpy as np
from llguidance import LLMatcher

from backends.base import JobError
from backends.constraint.culprit import find_culprit, with_keyword
from backends.constraint.gbnf import translate_gbnf
from backends.constraint.pattern import translate_pattern
from backends.constraint.pattern_reader import PatternError
from backends.constraint.schema import translate, translate_schema
from backends.constraint.source import Json, check_size, read_json, refuse
from backends.llama_cpp.guide import GuideError, TokenMask, build_tokenizer, parser_limits
from backends.llama_cpp.model import Vocabulary
from backends.protocol import Constraint

_KEPT = 256
"""Results kept, refusals too: a repeated schema costs nothing."""
_MAX_COMPILE_S = 0.25
"""Processor time that a compilation may take: it is done again in the step loop, where others wait for it."""
_NUMERIC = ("type", "multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_ANY_OBJECT: dict[str, Json] = {"type": "object"}


class GrammarCompiler:
    """One per prepare helper. Every method raises JobError for the request's faults."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._tokenizer = build_tokenizer(vocabulary, vocabulary.pieces())
        self._mask = TokenMask(vocabulary.size)
        self._row = np.zeros(vocabulary.size, dtype=np.float32)
        self._results: OrderedDict[tuple[str, ...], str | JobError] = OrderedDict()

    def constraint(self, constraint: Constraint) -> str:
        """The grammar of a whole answer, in Lark. To be given to `whole`, alone or as another's part."""
        key = (constraint.kind, constraint.source, constraint.param)
        return self._cached(key, lambda: self._constraint(constraint))

    def schema(self, source: str, place: str) -> str:
        """A schema as `%json` takes it. `place`: its path in the request, for error messages."""
        return self._cached(("schema", source, place), lambda: self._schema(source, place))

    def whole(self, lark: str, place: str, others: Mapping[str, str] | None = None) -> str:
        """The grammar that a guide takes; `lark` may refer to `others`, by name, as `@name`."""
        names = [part for pair in (others or {}).items() for part in pair]
        return self._cached(("whole", lark, *names), lambda: self._whole(lark, place, others or {}))

    def _constraint(self, constraint: Constraint) -> str:
        place = constraint.param
        match constraint.kind:
            case "json_object":
                return f"start: %json {json.dumps(translate(_ANY_OBJECT, place))}"
            case "json_schema":
                return f"start: %json {self._schema(constraint.source, place)}"
            case "regex":
                lark = f"start: ANSWER\nANSWER: /{_full_pattern(constraint.source, place)}/"
            case "gbnf":
                lark = translate_gbnf(constraint.source, place)
        self._whole(lark, place, {})
        return lark

    def _schema(self, source: str, place: str) -> str:
        schema = translate_schema(source, place, closed=True)
        reason = self._try(LLMatcher.grammar_from_json_schema(schema))
        if reason:
            where = find_culprit(source, place, lambda part: bool(self._try_schema(part)))
            raise refuse(where, f"this cannot be followed: {reason}")
        self._check_multiples(source, place)
        return schema

    def _check_multiples(self, source: str, place: str) -> None:
        """The engine finds out only while it writes that there is no such multiple between such bounds."""
        if '"multipleOf"' not in source:
            return
        tried: set[str] = set()
        for where, node in with_keyword(read_json(source, place), place, "multipleOf"):
            numeric: dict[str, Json] = {"type": "number"}
            numeric.update((key, node[key]) for key in _NUMERIC if key in node)
            if (text := json.dumps(numeric)) not in tried and self._try_schema(translate(numeric, where)):
                raise refuse(f"{where}.multipleOf", "no multiple between the bounds can be written")
            tried.add(text)

    def _try_schema(self, schema: Json) -> str:
        return self._try(LLMatcher.grammar_from_json_schema(json.dumps(schema)))

    def _whole(self, lark: str, place: str, others: Mapping[str, str]) -> str:
        parts = [{"lark_grammar": lark}]
        parts += [{"name": name, "lark_grammar": other} for name, other in others.items()]
        grammar = json.dumps({"grammars": parts}, ensure_ascii=False)
        if reason := self._try(grammar):
            raise refuse(place, f"this cannot be followed: {reason}")
        return grammar

    def _try(self, grammar: str) -> str:
        """Why the engine cannot follow a grammar; empty if it can, its first token included."""
        if self._tokenizer is None:
            return "answers of this model cannot be bound by a grammar"
        started_at = time.thread_time()
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0, limits=parser_limits())
        if matcher.is_error():
            return matcher.get_error().partition("\n")[0]
        self._row[:] = 0
        try:
            self._mask.apply(matcher, self._row)
        except GuideError as error:
            return str(error)
        if time.thread_time() - started_at > _MAX_COMPILE_S:
            return f"it takes more than {_MAX_COMPILE_S} s to compile"
        return ""

    def _cached(self, key: tuple[str, ...], make: Callable[[], str]) -> str:
        result = self._results.pop(key, None)
        if result is None:
            try:
                result = make()
            except JobError as error:
                result = error
        self._results[key] = result
        if len(self._results) > _KEPT:
            self._results.popitem(last=False)
        if isinstance(result, JobError):
            raise JobError(result.message, param=result.param, code=result.code)
        return result


def _full_pattern(source: str, place: str) -> str:
    check_size(source, place)
    try:
        return translate_pattern(source)
    except PatternError as error:
        raise refuse(place, f"this regular expression cannot be used: {error}") from None
