"""What a model is made of: one object per market; private to ``cascade_sim.model``."""
