"""What goes wrong on the way and in the server, against real servers: nothing is lost, counted twice or given away."""
