"""Trains base models: nnU-Net and PSNN."""
