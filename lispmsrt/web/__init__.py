"""The management endpoint: HTTP with JSON, metrics and a page, over what the views show and the
operations do. It decides nothing about mappings itself.
"""
