"""Planted bugs: each is put into a copy of the product, one at a time, to see that the fault suite catches it."""
