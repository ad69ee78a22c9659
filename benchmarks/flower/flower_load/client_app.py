"""Flower wants an app to have one; the clients of this benchmark answer by themselves (clients.py)."""

from flwr.clientapp import ClientApp

app = ClientApp()
