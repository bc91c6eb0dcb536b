"""A venue without accounts: the book, admission of orders, orders under way, replay of a stream."""
