"""What parsers of all families share: text up to a marker, and calls written as JSON objects.

A family is a `script`: it reads the whole answer, waits where the text ends for now, and tells what is
certain. What begins like a call and is none goes back to being text, from the first thing that did not fit.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from backends.chat.answer import NewCallId, Piece
from backends.chat.incoming import Incoming, Markers, NotExpected, Reading
from backends.chat.json_reading import read_string, read_value
from backends.chat.told import OpenCall, Told

_NAME, _FUNCTION = '"name"', '"function"'
_ARGUMENTS = ('"arguments"', '"parameters"')
_KEYS = (_NAME, _FUNCTION, *_ARGUMENTS, '"type"', '"id"')


class CallParser(ABC):
    """An AnswerParser for answers that may hold calls of `tools`."""

    in_reasoning = False
    marks: ClassVar[tuple[str, ...]] = ()
    """All the literals that its format is written with."""
    fences: ClassVar[tuple[str, ...]] = ()
    """What else may stand around calls; these are no control tokens."""

    def __init__(self, tools: Sequence[str], new_call_id: NewCallId) -> None:
        self.tools = frozenset(tools)
        self.incoming = Incoming()
        self.told = Told(new_call_id)
        self._names = {json.dumps(name, ensure_ascii=False): name for name in tools}
        self._script = self.script()

    @abstractmethod
    def script(self) -> Reading[None]:
        """Reads the answer to its end."""

    def begin(self, lead: str) -> None:
        """Read what the prompt ended with: it counts as a beginning, and is no part of the answer."""
        self.feed(lead)
        self.incoming.settle()

    @property
    def held(self) -> str:
        return self.told.space + self.incoming.text[self.incoming.start :]

    def feed(self, text: str) -> list[Piece]:
        self.incoming.add(text)
        next(self._script, None)
        return self.told.take()

    def finish(self) -> list[Piece]:
        self.incoming.ended = True
        next(self._script, None)
        self.told.end()
        return self.told.take()

    # --- for scripts -------------------------------------------------------------------------------------

    def text_until(self, markers: Markers) -> Reading[str]:
        """Tell text up to the first marker, and take that; empty at the end."""
        incoming = self.incoming
        while True:
            match = markers.search(incoming.text, incoming.at)
            if match is not None:
                incoming.at = match.start()
                self.release()
                incoming.at = match.end()
                return match[0]
            keep = 0 if incoming.ended else markers.unfinished(incoming.text, incoming.at)
            incoming.at = len(incoming.text) - keep
            self.release()
            if incoming.ended:
                return ""
            yield

    def release(self) -> None:
        """What was read and is no call is text; but a mark that breaks off behind a call is none."""
        at_end = self.incoming.ended and self.incoming.at == len(self.incoming.text)
        text = self.incoming.settle()
        if not (at_end and self.told.after_call and self._begins_mark(text.strip())):
            self.told.text(text)

    def _begins_mark(self, text: str) -> bool:
        return any(literal.startswith(text) for literal in (*self.marks, *self.fences))

    def attempt(self, reading: Reading[None]) -> Reading[bool]:
        """Read calls; if they are none, give the text back."""
        try:
            yield from reading
        except NotExpected:
            self.release()
            return False
        self.incoming.settle()
        return True

    def call_object(self) -> Reading[None]:
        """A call as a JSON object, from `{` to `}`. What breaks off once announced stays so."""
        call = OpenCall(self.incoming, self.told)
        try:
            yield from self._members(call)
            call.close()
        except NotExpected:
            if not call.announced:
                raise
            self.incoming.settle()

    def call_objects(self, separator: str) -> Reading[None]:
        """One call or several, between them space and perhaps a separator."""
        while True:
            yield from self.call_object()
            yield from self.incoming.skip_space()
            yield from self.incoming.accept(separator)
            yield from self.incoming.skip_space()
            if (yield from self.incoming.peek()) != "{":
                return

    def call_list(self) -> Reading[None]:
        """A JSON array of calls."""
        yield from self.incoming.expect("[")
        yield from self.incoming.skip_space()
        yield from self.call_objects(",")
        yield from self.incoming.accept("]")

    def call_arguments(self, name: str) -> Reading[None]:
        """The arguments of a call whose name stood before them: a JSON object."""
        call = OpenCall(self.incoming, self.told)
        call.named(name)
        yield from self.incoming.skip_space()
        if (yield from self.incoming.peek()) != "{":
            raise NotExpected
        yield from read_value(self.incoming, call.arguments)

    def _members(self, call: OpenCall, *, nested: bool = False) -> Reading[None]:
        incoming = self.incoming
        yield from incoming.expect("{")
        while True:
            yield from incoming.skip_space()
            if (yield from incoming.accept("}")):
                return
            if (yield from incoming.accept(",")):
                continue
            key = yield from incoming.one_of(_KEYS)
            yield from incoming.skip_space()
            yield from incoming.expect(":")
            yield from incoming.skip_space()
            yield from self._member(call, key, nested)

    def _member(self, call: OpenCall, key: str, nested: bool) -> Reading[None]:
        first = yield from self.incoming.peek()
        if key == _FUNCTION and first == "{" and not nested:
            yield from self._members(call, nested=True)
        elif key in (_NAME, _FUNCTION):
            call.named(self._names[(yield from self.incoming.one_of(self._names))])
        elif key in _ARGUMENTS and not call.has_arguments:
            yield from (read_string if first == '"' else read_value)(self.incoming, call.arguments)
        else:
            yield from read_value(self.incoming, lambda _: None)
