"""Static files of the web page at `/`. They work offline and under `default-src 'self'`; no code here."""
