"""Embeddings from GGUF files: `facts` (what a file can do), `prepare` (texts to token ids), `engine`.

Importing this package loads no llama.cpp.
"""
