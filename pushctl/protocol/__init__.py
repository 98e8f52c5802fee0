"""What goes over sockets and between roles, without I/O: no trio, no redis, no clock."""
