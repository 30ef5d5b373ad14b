"""What is added to a conversation where the model's chat template does not speak of tools itself.

- The list of tools goes to the end of the system message; where the template has none, in front of the first
  user message. Each tool is one line of JSON between `<tools>` tags; how a call is written follows. Templates
  without a writing of their own get that of the Hermes models: `<tool_call>` tags around
  `{"name": …, "arguments": {…}}`.
- An assistant's earlier calls stand in its turn as it would have written them.
- A tool's answer is a user's turn: `<tool_response>` tags around it; several in a row are one turn.
"""

import json
from collections.abc import Sequence

from backends.chat.writing import CallWriting

_EXAMPLE = ("function-name", '{"argument": "value"}')


def tool_instructions(tools: Sequence[object], writing: CallWriting, *, parallel: bool) -> str:
    """`tools` as a template gets them."""
    lines = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
    several = "To make several calls, write one after the other." if parallel else "Make one call at a time."
    return (
        "# Tools\n\n"
        f"These functions can be called; each line describes one in JSON:\n<tools>\n{lines}\n</tools>\n\n"
        "Call a function where it helps to answer. A call is written exactly like this, with the function's "
        f"own name and a JSON object of its arguments, and with nothing after it:\n"
        f"{writing.write([_EXAMPLE])}\n"
        f"{several} Results come back between <tool_response> tags. Where no function helps, answer without."
    )


def tool_response(content: str) -> str:
    return f"<tool_response>\n{content}\n</tool_response>"


def joined(first: str, second: str, between: str = "\n\n") -> str:
    return f"{first}{between}{second}" if first and second else first or second
