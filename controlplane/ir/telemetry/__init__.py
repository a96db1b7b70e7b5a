"""What a proxy tells of the requests and connections that it handles."""
