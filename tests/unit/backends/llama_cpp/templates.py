"""Small chat templates, each with the habits of one family of models."""

CHATML = (
    "{% for m in messages %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
HERMES = """
{%- if tools %}{{ '<|im_start|>system\n<tools>' }}{% for t in tools %}{{ t | tojson }}{% endfor %}
{{- '</tools><|im_end|>\n' }}{% endif %}
{%- for m in messages %}
{%- if m.role == 'tool' %}{{ '<|im_start|>user\n<tool_response>' + m.content }}
{{- '</tool_response><|im_end|>\n' }}
{%- else %}{{ '<|im_start|>' + m.role + '\n' + m.content }}
{%- if m.reasoning_content %}{{ '<think>' + m.reasoning_content + '</think>' }}{% endif %}
{%- for c in m.tool_calls or [] %}
{{- '<tool_call>\n{"name": "' + c.function.name + '", "arguments": ' + c.function.arguments | tojson }}
{{- '}\n</tool_call>' }}{% endfor %}{{ '<|im_end|>\n' }}{% endif %}
{%- endfor %}{{ '<|im_start|>assistant\n' }}
{%- if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}
{%- elif enable_thinking is defined %}{{ '<think>\n' }}{% endif %}"""
LLAMA3 = """
{%- if tools is not none %}{{ '[tools]' + tools | tojson }}{% endif %}
{%- for m in messages %}
{%- if 'tool_calls' in m %}
{%- if m.tool_calls | length != 1 %}{{ raise_exception('only single tool-calls') }}{% endif %}
{{- '[assistant]\n\n{"name": "' + m.tool_calls[0].function.name + '", "parameters": ' }}
{{- m.tool_calls[0].function.arguments | tojson + '}<|eot|>' }}
{%- else %}{{ '[' + m.role + ']\n\n' + m.content | trim + '<|eot|>' }}{% endif %}
{%- endfor %}{{ '[assistant]\n\n' }}"""
MISTRAL = """
{%- for m in messages %}
{%- if m.role == 'user' %}{% if tools and loop.last %}{{ '[AVAILABLE_TOOLS]' + tools | tojson }}{% endif %}
{{- '[INST]' + m.content + '[/INST]' }}
{%- elif m.tool_calls is defined and m.tool_calls is not none %}{{ '[TOOL_CALLS][' }}
{%- for c in m.tool_calls %}{% set out = c.function | tojson %}
{%- if c.id | length != 9 %}{{ raise_exception('ids have nine characters') }}{% endif %}
{{- out[:-1] + ', "id": "' + c.id + '"}' }}{% if not loop.last %}, {% endif %}{% endfor %}{{ ']</s>' }}
{%- elif m.role == 'tool' %}{{ '[TOOL_RESULTS]' + m.tool_call_id + m.content + '[/TOOL_RESULTS]' }}
{%- else %}{{ m.content + '</s>' }}{% endif %}
{%- endfor %}"""
MISTRAL_NAMED = """
{%- if tools %}{{ tools | tojson }}{% endif %}
{%- for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}
{{- '[TOOL_CALLS]' + c.function.name + '[ARGS]' + c.function.arguments | tojson }}{% endfor %}{% endfor %}"""
DEEPSEEK = """
{%- for m in messages %}
{%- if m.role == 'assistant' and m.tool_calls %}{{ '<｜Assistant｜><｜tool▁calls▁begin｜>' }}
{%- for c in m.tool_calls %}
{{- '<｜tool▁call▁begin｜>function<｜tool▁sep｜>' + c.function.name + '\n```json\n' }}
{{- c.function.arguments | tojson + '\n```<｜tool▁call▁end｜>' }}{% endfor %}{{ '<｜tool▁calls▁end｜>' }}
{%- endif %}
{%- if m.role == 'assistant' and m.content is not none %}{{ '<｜Assistant｜>' + m.content }}{% endif %}
{%- if m.role == 'tool' %}{{ '<｜tool▁output▁begin｜>' + m.content }}{% endif %}
{%- if m.role in ['user', 'system'] %}{{ '<｜' + m.role + '｜>' + m.content }}{% endif %}
{%- endfor %}{{ '<｜Assistant｜><think>\n' }}"""
FUNCTIONARY = """
{%- if tools %}{% for t in tools %}{{ 'type ' + t.function.name }}{% endfor %}{% endif %}
{%- for m in messages %}{{ '[' + m.role + ']' }}
{%- if m.role == 'assistant' and m.content %}{{ '>>>all\n' + m.content }}
{%- elif m.content %}{{ m.content }}{% endif %}
{%- for c in m.tool_calls or [] %}{{ '>>>' + c.function.name + '\n' + c.function.arguments }}{% endfor %}
{%- endfor %}{{ '[assistant]>>>' }}"""
GEMMA = """
{%- if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{%- for m in messages %}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}
{{- '<turn>' + m.role + '\n' + m.content }}{% endfor %}"""
XML = """
{%- if tools %}{{ tools | tojson }}{% endif %}
{%- for m in messages %}{{ '[' + m.role + ']' + m.content }}
{%- for c in m.tool_calls or [] %}{{ '<tool_call><function=' + c.function.name + '>' }}
{%- for k, v in c.function.arguments | items %}{{ '<parameter=' + k + '>' + v }}{% endfor %}{% endfor %}
{%- endfor %}"""
