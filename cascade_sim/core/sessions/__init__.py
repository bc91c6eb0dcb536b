"""What a venue does with time: halts, the reopening auction, orders that arrive late."""
