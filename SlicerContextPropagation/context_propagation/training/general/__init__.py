"""The general far network: its examples from phantoms and several base models, its training, what ships."""
