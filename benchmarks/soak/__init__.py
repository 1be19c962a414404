"""A steady mixed load for an hour: does any process grow?"""
