"""Margin, liquidation and who pays for what is left."""
