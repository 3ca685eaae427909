"""What is known beside the data: of clients, of the server, of what took long or is listened to. Pure: others act on it."""
