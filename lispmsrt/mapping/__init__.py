"""What is registered: sites (policy), database (longest match), registrar (the one writer),
publisher.
"""
