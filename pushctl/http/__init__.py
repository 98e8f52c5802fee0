"""A small ASGI server of our own on Trio and httptools, and what answers problems in one form.

server.py (listeners, limits, drain) · connection.py (one peer) · exchange.py (one request and its answer) ·
parser.py, grammar.py, chunks.py (bytes to requests, sans-I/O) · answer.py (answers to bytes, sans-I/O) ·
addresses.py (who is asking) · asgi.py, problem.py, lifespan.py (for applications)
"""
