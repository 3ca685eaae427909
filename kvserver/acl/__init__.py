"""Users and their rights: whom the server knows, and what each may do. Pure; knows commands by their names alone."""
