"""Load for any Map-Server: ETRs in masses, with all that they register, move, withdraw and ask.

Only standard messages are used. An ETR here is a template and a few numbers, not the service of
:mod:`lispmsrt.services.etr`: it must cost less than what it measures.
"""
