"""A local stand-in for Discord: gateway, REST, CDN and a web page, bound to loopback."""
