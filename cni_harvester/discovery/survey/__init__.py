"""The survey: which VLANs a switch port carries, found on the uplink itself, before anything is configured.

`questions` makes what is asked, `schedule` says when, `sieve` keeps a busy uplink from drowning us, `evidence` keeps
what is heard, `findings` is the outcome and `meaning` what it means; these are pure. `run` does the asking and
listening.
"""
