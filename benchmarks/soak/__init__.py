"""``make soak``: churn over every transport for as long as one likes, and whether the Map-Server
stays as small as it was.
"""
