"""Which parser reads an answer."""

from backends.chat.answer import AnswerFormat, AnswerParser, CallFormat, NewCallId, PlainParser
from backends.chat.call_parser import CallParser
from backends.chat.families import (
    DeepSeekParser,
    FunctionaryParser,
    HermesParser,
    JsonParser,
    Llama3Parser,
    MistralParser,
)
from backends.chat.reasoning import ThinkParser

_FAMILIES: dict[CallFormat, type[CallParser]] = {
    "hermes": HermesParser,
    "llama3": Llama3Parser,
    "mistral": MistralParser,
    "deepseek": DeepSeekParser,
    "functionary": FunctionaryParser,
    "json": JsonParser,
}


def parser_for(format: AnswerFormat, new_call_id: NewCallId) -> AnswerParser:
    """A fresh parser for one answer."""
    answer = _answer_parser(format, new_call_id)
    if not format.think_close:
        return answer
    return ThinkParser(format.think_open, format.think_close, in_reasoning=format.in_reasoning, answer=answer)


def _answer_parser(format: AnswerFormat, new_call_id: NewCallId) -> AnswerParser:
    family = _FAMILIES.get(format.calls)
    if family is None or not format.tools:
        return PlainParser()
    parser = family(format.tools, new_call_id)
    parser.begin(format.lead)
    return parser


def marks_of(format: AnswerFormat) -> list[str]:
    """The literals that an answer's parser looks for: as control tokens they must become text for it."""
    family = _FAMILIES.get(format.calls)
    calls = family.marks if family is not None and format.tools else ()
    return [mark for mark in (*calls, format.think_open, format.think_close) if mark]
