"""A session whose GPU stands in another room: the same interface as `Session`, over the network. Needs no torch.

`RemoteServer` is where it begins: it lists the models, asks for consent before an image is sent, and loads a model
whose `session()` gives a `RemoteSession`. All that was drawn stays here; the server only computes.
"""
