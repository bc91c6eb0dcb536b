"""Option contracts, listed chains and the inventories that dealers hedge."""
