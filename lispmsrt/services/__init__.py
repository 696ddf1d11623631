"""The IService trees of both roles."""
