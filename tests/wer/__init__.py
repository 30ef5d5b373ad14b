"""How exact transcripts are: word error rates on real speech, beside faster-whisper called directly."""
