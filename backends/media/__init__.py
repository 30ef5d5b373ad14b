"""Recordings and pictures as people send them, decoded. Runs in prepare helpers only, which can be killed."""
