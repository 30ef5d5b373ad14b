"""How each family of models writes its calls. The formats are those of the models' own chat templates."""

from collections.abc import Sequence

from backends.chat.answer import NewCallId
from backends.chat.call_parser import CallParser
from backends.chat.incoming import Markers, NotExpected, Reading

MISTRAL_ID_LENGTH = 9
"""Mistral's templates refuse ids of any other length, and of other characters than letters and digits."""


class HermesParser(CallParser):
    """`<tool_call>{"name": …, "arguments": {…}}</tool_call>`; small models often forget the tags."""

    OPEN, CLOSE = marks = ("<tool_call>", "</tool_call>")
    _markers = Markers([OPEN])

    def script(self) -> Reading[None]:
        yield from self.attempt(self._bare())
        while (yield from self.text_until(self._markers)):
            yield from self.attempt(self._tagged())

    def _bare(self) -> Reading[None]:
        yield from self.incoming.skip_space()
        yield from self.call_objects(",")
        yield from self.incoming.accept(self.CLOSE)

    def _tagged(self) -> Reading[None]:
        yield from self.incoming.skip_space()
        yield from self.call_objects(",")
        yield from self.incoming.accept(self.CLOSE)


class Llama3Parser(CallParser):
    """`{"name": …, "parameters": {…}}` as the whole answer, several with `;` between; perhaps after a tag."""

    TAG = "<|python_tag|>"
    marks = (TAG,)
    _markers = Markers([TAG])

    def script(self) -> Reading[None]:
        yield from self.attempt(self._bare())
        while (yield from self.text_until(self._markers)):
            yield from self.attempt(self._bare())

    def _bare(self) -> Reading[None]:
        yield from self.incoming.skip_space()
        yield from self.call_objects(";")


class MistralParser(CallParser):
    """`[TOOL_CALLS][{"name": …, "arguments": {…}}]`, or `[TOOL_CALLS]name[ARGS]{…}` for each call."""

    OPEN, CALL_ID, ARGS = marks = ("[TOOL_CALLS]", "[CALL_ID]", "[ARGS]")
    _markers = Markers([OPEN])

    def __init__(self, tools: Sequence[str], new_call_id: NewCallId) -> None:
        super().__init__(tools, lambda: mistral_id(new_call_id()))

    def script(self) -> Reading[None]:
        while (yield from self.text_until(self._markers)):
            yield from self.attempt(self._calls())

    def _calls(self) -> Reading[None]:
        yield from self.incoming.skip_space()
        first = yield from self.incoming.peek()
        if first == "[":
            yield from self.call_list()
        elif first == "{":
            yield from self.call_objects(",")
        else:
            yield from self._named()

    def _named(self) -> Reading[None]:
        name = yield from self.incoming.word(self.tools)
        if (yield from self.incoming.accept(self.CALL_ID)):
            yield from self._skip_id()
        yield from self.incoming.accept(self.ARGS)
        yield from self.call_arguments(name)

    def _skip_id(self) -> Reading[None]:
        """The id that the model made up: it may have been there before, ours has not."""
        for _ in range(MISTRAL_ID_LENGTH):
            if not (yield from self.incoming.peek()).isalnum():
                raise NotExpected
            self.incoming.at += 1


class DeepSeekParser(CallParser):
    """`<｜tool▁calls▁begin｜>`, each call in its own tags, its arguments perhaps fenced."""

    OPEN, CLOSE = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
    CALL, CALL_END, SEPARATOR = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"
    FENCE, FENCE_END = "```json", "```"
    marks = (OPEN, CLOSE, CALL, CALL_END, SEPARATOR)
    fences = (FENCE_END,)
    _markers = Markers([OPEN, CALL])

    def script(self) -> Reading[None]:
        while marker := (yield from self.text_until(self._markers)):
            yield from self.attempt(self._calls(opened=marker == self.CALL))

    def _calls(self, *, opened: bool) -> Reading[None]:
        incoming = self.incoming
        if not opened:
            yield from incoming.skip_space()
            yield from incoming.expect(self.CALL)
        more = True
        while more:
            yield from self._call()
            yield from incoming.skip_space()
            more = yield from incoming.accept(self.CALL)
        yield from incoming.accept(self.CLOSE)

    def _call(self) -> Reading[None]:
        incoming = self.incoming
        name = yield from incoming.word(self.tools | {"function"})
        yield from incoming.expect(self.SEPARATOR)
        yield from incoming.skip_space()
        if name == "function" and (yield from incoming.peek()) not in ("{", "`"):
            name = yield from incoming.word(self.tools)
        elif name not in self.tools:
            raise NotExpected
        yield from incoming.skip_space()
        yield from incoming.accept(self.FENCE)
        yield from self.call_arguments(name)
        yield from incoming.skip_space()
        yield from incoming.accept(self.FENCE_END)
        yield from incoming.skip_space()
        yield from incoming.accept(self.CALL_END)
        incoming.settle()  # whatever becomes of the next call, this one's marks are no text


class FunctionaryParser(CallParser):
    """`<function=name>{…}</function>`, or a recipient a part: `>>>all` and text, `>>>name` and `{…}`."""

    OPEN, CLOSE, RECIPIENT, EVERYBODY = "<function=", "</function>", ">>>", "all"
    marks = (OPEN, CLOSE, RECIPIENT)
    _markers = Markers([OPEN, RECIPIENT])

    def script(self) -> Reading[None]:
        while marker := (yield from self.text_until(self._markers)):
            yield from self.attempt(self._tagged() if marker == self.OPEN else self._addressed())

    def _tagged(self) -> Reading[None]:
        name = yield from self.incoming.word(self.tools)
        yield from self.incoming.expect(">")
        yield from self.call_arguments(name)
        yield from self.incoming.skip_space()
        yield from self.incoming.accept(self.CLOSE)

    def _addressed(self) -> Reading[None]:
        name = yield from self.incoming.word(self.tools | {self.EVERYBODY})
        yield from self.incoming.expect("\n")
        if name != self.EVERYBODY:
            yield from self.call_arguments(name)


class JsonParser(CallParser):
    """The whole answer is one JSON object or array of calls, perhaps in a fence or behind a word."""

    TAGS = ("<|tool_call|>", "<tool_calls>", "<|function_call|>")
    OPENERS = (*TAGS, "```json", "functools", "<tool_call>")
    CLOSERS = ("```", "<|/tool_call|>", "</tool_calls>", "</tool_call>")
    marks = (*OPENERS, *CLOSERS)
    _markers = Markers(TAGS)

    def script(self) -> Reading[None]:
        yield from self.attempt(self._opened())
        while (yield from self.text_until(self._markers)):
            yield from self.attempt(self._calls())

    def _opened(self) -> Reading[None]:
        yield from self.incoming.skip_space()
        for opener in self.OPENERS:
            if (yield from self.incoming.accept(opener)):
                break
        yield from self._calls()

    def _calls(self) -> Reading[None]:
        yield from self.incoming.skip_space()
        if (yield from self.incoming.peek()) == "[":
            yield from self.call_list()
        else:
            yield from self.call_objects(",")
        yield from self.incoming.skip_space()
        for closer in self.CLOSERS:
            if (yield from self.incoming.accept(closer)):
                break


def mistral_id(text: str) -> str:
    """The last letters and digits of an id, as many as Mistral's templates want."""
    return "".join(character for character in text if character.isalnum())[-MISTRAL_ID_LENGTH:]
