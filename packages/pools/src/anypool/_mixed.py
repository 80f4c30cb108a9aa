"""A crew made of crews."""
