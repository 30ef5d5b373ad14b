"""What a request may demand of an answer, checked and brought into the grammar engine's own terms.

Pure: no model, no vocabulary, no grammar library. A demand that the engine would ignore or read differently
is refused with its place in the request; what is let through means the same to both.
"""
