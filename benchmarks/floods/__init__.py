"""``make bench-floods``: what is left for established sessions while somebody floods the Map-Server
with twice what it can take.

How it is measured is in docs/reliability.rst; the modules say what each flood is.
"""
