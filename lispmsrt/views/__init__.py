"""What an operator may see: frozen values, and what makes them from the services. It reads, and
never writes. The management endpoint, the command line, the web page and the metrics render these
and nothing else.
"""
