"""A bundle over HTTP: REST server and web page."""
