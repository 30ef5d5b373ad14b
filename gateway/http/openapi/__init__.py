"""The OpenAPI document.

`operation` is what a route says of itself, `shapes` has types of what is read or written as raw JSON,
`schemas` makes JSON schemas of types, `document` puts all together, `routes` serves it.
"""
