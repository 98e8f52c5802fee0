"""pushctl: an open push-notification service.

The floors, lowest first; each imports only what is below it (checked by import-linter):

  0  ids, clock, errors, stages      words everybody shares
  1  config, log, metrics            what the operator says and sees
  2  protocol, webpush, identity     sans-I/O: frames, requests, credentials
  3  registry                        all shared state; the only floor that says "redis"
  4  routing                         from a job to the socket servers, and the socket server's end
  5  http, runtime, embedded         listeners, the life of a role, the Redis that `serve all` brings along
  6  client, cli                     the simulated client, the sender, the command line
"""

__version__ = "0.1.0"
