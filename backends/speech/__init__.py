"""What all voices share: cutting texts, taking turns, encoding audio.

A backend for a voice model brings a `SpeechPreparer` that turns text into what the model reads and a `Voice`
that turns this into sound; everything between the two is here.
"""
