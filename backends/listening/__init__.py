"""What every engine that holds sessions needs, written once: input in order, turns, stable text.

Must not hear or transcribe: that is the engine's.
"""
