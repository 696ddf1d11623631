"""The nine goals, one module for each kind. A module has ``measure``, which yields what a number of
rounds came to.
"""
