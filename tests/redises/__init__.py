"""Redis installations that tests start, break and throw away: one Redis, replicas, a Cluster, Sentinels, TLS.

Everything here is synchronous, and each wait has a ceiling. A test whose roles run meanwhile calls what waits through
`trio.to_thread.run_sync`; only starting a process must happen in the main thread (process.py says why).
"""
