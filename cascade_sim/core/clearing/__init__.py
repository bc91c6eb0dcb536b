"""Accounts: ledger, margin, trigger index, liquidation and what follows a breach."""
